import type {
  AuthenticationPolicy,
  Configuration,
} from "../../proto/gen/buildbarn/configuration/http/server/server_pb.ts";
import type { HttpServerSettings } from "../../telemetry/diagnostics-server.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath, unsupported } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { authenticationMetadata } from "./authentication.ts";
import { tlsServer } from "./tls.ts";

export function httpServerSettings(configuration: Configuration, path: FieldPath): HttpServerSettings {
  const { listenAddresses, authenticationPolicy, tls, ...rest } = configuration;
  refuse(rest, path);
  return all({
    addresses: () =>
      each(nonEmpty(listenAddresses, path.field("listenAddresses")), (address, index) =>
        addressOf(address, path.field("listenAddresses").index(index)),
      ),
    tls: () => tls && tlsServer(tls, path.field("tls")),
    denied: () => denialOf(authenticationPolicy, path.field("authenticationPolicy")),
  });
}

function addressOf(address: string, path: FieldPath): { host: string; port: number } {
  const [, bracketed, plain = "", digits = ""] =
    /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(address) ?? [];
  const port = Number(digits);
  if (digits === "" || port > 65_535) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(address)}: give "HOST:PORT", or ":PORT" for every address`,
    );
  }
  return { host: bracketed ?? plain, port };
}

const ALLOW_ALL = 'give {"allow": {}}, and restrict who can reach the server by its address';

/** The reason to refuse everybody, or undefined to serve everybody. */
function denialOf(configuration: AuthenticationPolicy | undefined, path: FieldPath): string | undefined {
  if (configuration?.policy.case === undefined) {
    throw new ConfigurationError(`${path} is missing: ${ALLOW_ALL}`);
  }
  const { policy, ...rest } = configuration;
  refuse(rest, path);
  switch (policy.case) {
    case "allow":
      authenticationMetadata(policy.value, path.field("allow"));
      return undefined;
    case "deny":
      return policy.value;
    case "any": {
      const { policies, ...rest } = policy.value;
      refuse(rest, path.field("any"));
      const denials = each(policies, (each, index) =>
        denialOf(each, path.field("any.policies").index(index)),
      );
      return denials.includes(undefined) ? undefined : denials.join(", ") || "no policy allows it";
    }
    default:
      throw unsupported(path.field(policy.case), ALLOW_ALL);
  }
}
