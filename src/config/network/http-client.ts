import { validateHeaderName, validateHeaderValue } from "node:http";
import type { HttpClientSettings, OAuth2Settings } from "../../http/settings.ts";
import type {
  Configuration,
  Configuration_HeaderValues,
  OAuth2ClientCredentials,
  OAuth2Configuration,
} from "../../proto/gen/buildbarn/configuration/http/client/client_pb.ts";
import { ConfigurationError } from "../error.ts";
import { all, each, type FieldPath, unsupported } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
import { nonEmpty } from "../values.ts";
import { tlsClient } from "./tls.ts";

export function httpClientSettings(
  configuration: Configuration | undefined,
  path: FieldPath,
): HttpClientSettings {
  if (configuration === undefined) {
    return { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined };
  }
  const { tls, proxyUrl, addHeaders, oauth2, ...rest } = configuration;
  refuse(accept(rest, path, { disableHttp2: "all requests are made by HTTP/1.1" }), path);
  return all({
    tls: () => tls && tlsClient(tls, path.field("tls")),
    proxyUrl: () => (proxyUrl === "" ? undefined : httpUrl(proxyUrl, path.field("proxyUrl"))),
    headers: () =>
      each(addHeaders, (header, index) => headers(header, path.field("addHeaders").index(index))).flat(),
    oauth2: () => oauth2 && oauth2Settings(oauth2, path.field("oauth2")),
  });
}

const REFUSED_CREDENTIALS = {
  googleDefaultCredentials:
    "it needs a cloud's own services; give clientCredentials, or a proxy that adds tokens",
  serviceAccountKey: "it needs a cloud's own services; give clientCredentials, or a proxy that adds tokens",
} as const;

export function oauth2Settings(configuration: OAuth2Configuration, path: FieldPath): OAuth2Settings {
  const { credentials, scopes, ...rest } = configuration;
  refuse(rest, path);
  switch (credentials.case) {
    case "clientCredentials":
      return { ...clientCredentials(credentials.value, path.field("clientCredentials")), scopes };
    case undefined:
      throw new ConfigurationError(`${path} is empty: give clientCredentials`);
    default:
      throw unsupported(path.field(credentials.case), REFUSED_CREDENTIALS[credentials.case]);
  }
}

function clientCredentials(
  { clientId, clientSecret, tokenEndpointUrl, httpClient, ...rest }: OAuth2ClientCredentials,
  path: FieldPath,
): Omit<OAuth2Settings, "scopes"> {
  refuse(rest, path);
  return all({
    clientId: () => clientId,
    clientSecret: () => clientSecret,
    tokenEndpointUrl: () => httpUrl(tokenEndpointUrl, path.field("tokenEndpointUrl")),
    httpClient: () => httpClientSettings(httpClient, path.field("httpClient")),
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
