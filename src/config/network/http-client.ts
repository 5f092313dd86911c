import { validateHeaderName, validateHeaderValue } from "node:http";
import type { GrpcTls } from "../../grpc/endpoint.ts";
import type {
  Configuration,
  Configuration_HeaderValues,
} from "../../proto/gen/buildbarn/configuration/http/client/client_pb.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { tlsClient } from "./tls.ts";

/** How to make requests by HTTP: what Buildbarn's http.client.Configuration says, as plain data. */
export interface HttpClientSettings {
  /** For https; absent means the system's authorities. */
  readonly tls: GrpcTls | undefined;
  readonly proxyUrl: string | undefined;
  /** A name may occur more than once. */
  readonly headers: readonly (readonly [name: string, value: string])[];
}

export function httpClientSettings(
  configuration: Configuration | undefined,
  path: FieldPath,
): HttpClientSettings {
  if (configuration === undefined) {
    return { tls: undefined, proxyUrl: undefined, headers: [] };
  }
  const { tls, proxyUrl, addHeaders, ...rest } = configuration;
  refuse(accept(rest, path, { disableHttp2: "all requests are made by HTTP/1.1" }), path, {
    oauth2: "use addHeaders with a token, or a proxy that adds one",
  });
  return all({
    tls: () => tls && tlsClient(tls, path.field("tls")),
    proxyUrl: () => (proxyUrl === "" ? undefined : httpUrl(proxyUrl, path.field("proxyUrl"))),
    headers: () =>
      each(addHeaders, (header, index) => headers(header, path.field("addHeaders").index(index))).flat(),
  });
}

/** Throws {@link ConfigurationError} for what is not a URL of http or https. */
export function httpUrl(url: string, path: FieldPath): string {
  const protocol = URL.canParse(url) ? new URL(url).protocol : undefined;
  if (protocol !== "http:" && protocol !== "https:") {
    throw new ConfigurationError(`${path} is ${JSON.stringify(url)}: give "http://HOST:PORT/PATH", or https`);
  }
  return url;
}

function headers(
  { header, values, ...rest }: Configuration_HeaderValues,
  path: FieldPath,
): (readonly [string, string])[] {
  refuse(rest, path);
  checked(path.field("header"), () => validateHeaderName(header));
  return nonEmpty(values, path.field("values")).map((value) => {
    checked(path.field("values"), () => validateHeaderValue(header, value));
    return [header, value] as const;
  });
}

function checked(path: FieldPath, check: () => void): void {
  try {
    check();
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
