import { readFileSync } from "node:fs";

/** Where Kubernetes has the namespace of a pod that this program is in. */
const NAMESPACE_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/** A service, and the port of its endpoints: its number, its name, or undefined for the first one. */
export interface KubernetesTarget {
  readonly namespace: string;
  readonly service: string;
  readonly port: string | undefined;
}

/** A name of Kubernetes' (RFC 1123). */
const NAME = /^[a-z0-9](?:[-a-z0-9]{0,251}[a-z0-9])?$/;

/**
 * What comes after "SCHEME:" in an address: "//SERVICE.NAMESPACE:PORT", "///SERVICE.NAMESPACE:PORT" or
 * "//NAMESPACE/SERVICE:PORT". Without a namespace, it is this pod's own, or "default". Throws an Error for anything else.
 */
export function kubernetesTarget(
  address: string,
  ownNamespace: () => string = namespaceOfPod,
): KubernetesTarget {
  const [, authority = "", path = ""] = /^\/\/([^/]*)(?:\/(.*))?$/.exec(address) ?? [];
  const inAuthority = authority !== "" && (authority.includes(":") || path === "");
  const [name = "", port, ...others] = (inAuthority ? authority : path).split(":");
  const [service = "", dotted] = name.split(".");
  const namespace = (inAuthority || authority === "" ? dotted : authority) ?? ownNamespace();
  if (!NAME.test(service) || !NAME.test(namespace) || others.length > 0 || (port && !isPort(port))) {
    throw new Error(
      `the address of a Kubernetes service is ${JSON.stringify(address)}: give "//SERVICE.NAMESPACE:PORT"`,
    );
  }
  return { namespace, service, port: port || undefined };
}

function isPort(port: string): boolean {
  return /^[0-9]+$/.test(port) ? Number(port) >= 1 && Number(port) <= 65_535 : NAME.test(port);
}

function namespaceOfPod(): string {
  try {
    return readFileSync(NAMESPACE_FILE, "utf8").trim();
  } catch {
    return "default";
  }
}
