import { mediaRanges } from "../../authentication/http/accept-header.ts";
import type { HttpAuthenticationSettings } from "../../authentication/http/settings.ts";
import type {
  AuthenticationPolicy,
  Configuration,
} from "../../proto/gen/buildbarn/configuration/http/server/server_pb.ts";
import type { HttpServerSettings } from "../../telemetry/diagnostics-server.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { allowSettings, jwtSettings, remoteSettings } from "./authentication.ts";
import { oidcSettings } from "./oidc.ts";
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
    authentication: () => authenticationSettings(authenticationPolicy, path.field("authenticationPolicy")),
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

function authenticationSettings(
  configuration: AuthenticationPolicy | undefined,
  path: FieldPath,
): HttpAuthenticationSettings {
  if (configuration?.policy.case === undefined) {
    throw new ConfigurationError(`${path} is missing: ${ALLOW_ALL}`);
  }
  const { policy, ...rest } = configuration;
  refuse(rest, path);
  const inner = path.field(policy.case);
  switch (policy.case) {
    case "allow":
      return allowSettings(policy.value, inner);
    case "deny":
      return { kind: "deny", message: policy.value };
    case "any": {
      const { policies, ...rest } = policy.value;
      refuse(rest, inner);
      return {
        kind: "any",
        policies: each(policies, (each, index) =>
          authenticationSettings(each, inner.field("policies").index(index)),
        ),
      };
    }
    case "jwt":
      return jwtSettings(policy.value, inner);
    case "acceptHeader": {
      const { mediaTypes, policy: base, ...rest } = policy.value;
      refuse(rest, inner);
      return {
        kind: "acceptHeader",
        ...all({
          mediaTypes: () =>
            each(nonEmpty(mediaTypes, inner.field("mediaTypes")), (mediaType, index) =>
              checkedMediaType(mediaType, inner.field("mediaTypes").index(index)),
            ),
          policy: () => authenticationSettings(base, inner.field("policy")),
        }),
      };
    }
    case "remote":
      return remoteSettings(policy.value, inner, checkHeader);
    case "oidc":
      return oidcSettings(policy.value, inner);
  }
}

function checkedMediaType(mediaType: string, path: FieldPath): string {
  if (mediaRanges(mediaType).length === 0) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(mediaType)}: give a media type, such as "text/html" or "text/*"`,
    );
  }
  return mediaType;
}

/** As Buildbarn does it: the service gets headers by the names in which Go spells them. */
function checkHeader(name: string, path: FieldPath): void {
  const canonical = name.toLowerCase().replace(/(?:^|-)[a-z]/g, (start) => start.toUpperCase());
  if (!/^[-!#$%&'*+.^`|~\w]+$/.test(name)) {
    throw new ConfigurationError(`${path} is ${JSON.stringify(name)}: give a header's name`);
  }
  if (name !== canonical) {
    throw new ConfigurationError(
      `${path} is ${JSON.stringify(name)}: give it as ${JSON.stringify(canonical)}`,
    );
  }
}
