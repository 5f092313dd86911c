/** Where a pod of a service listens. */
export interface PodAddress {
  readonly host: string;
  readonly port: number;
}

/** Of the API's core/v1 Endpoints, as far as it is needed; whatever comes is checked. */
interface Endpoints {
  readonly subsets?: readonly {
    readonly addresses?: readonly { readonly ip?: unknown }[];
    readonly ports?: readonly { readonly name?: unknown; readonly port?: unknown }[];
  }[];
}

/**
 * The addresses in an Endpoints object: those of pods that are ready. As in Buildbarn, a port that is a number is taken as it is,
 * one that is a name is looked up, and the first one stands for a name that is not there. Throws an Error for what is no
 * such object.
 */
export function podAddresses(object: unknown, port: string | undefined): readonly PodAddress[] {
  const { subsets = [] } = (object ?? {}) as Endpoints;
  if (!Array.isArray(subsets)) {
    throw new Error("the API server's answer has no list of subsets");
  }
  return (subsets as NonNullable<Endpoints["subsets"]>).flatMap((subset) => {
    const { addresses, ports } = subset ?? {};
    const number = /^[0-9]+$/.test(port ?? "")
      ? Number(port)
      : (listOf(ports).find(({ name }) => name === port) ?? listOf(ports)[0])?.port;
    return listOf(addresses).flatMap(({ ip }) =>
      typeof ip === "string" && typeof number === "number" ? [{ host: ip, port: number }] : [],
    );
  });
}

function listOf<T extends object>(list: readonly T[] | undefined): readonly T[] {
  return Array.isArray(list) ? list.filter((item) => typeof item === "object" && item !== null) : [];
}
