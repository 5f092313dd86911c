import { createHash } from "node:crypto";
import { toBinary } from "@bufbuild/protobuf";
import type { HttpAuthenticationSettings } from "../../authentication/http/settings.ts";
import {
  type OIDCAuthenticationPolicy,
  OIDCAuthenticationPolicySchema,
} from "../../proto/gen/buildbarn/configuration/http/server/server_pb.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath } from "../field-path.ts";
import { jmespathSettings } from "../jmespath.ts";
import { refuse } from "../refuse.ts";
import { httpClientSettings, httpUrl } from "./http-client.ts";

export function oidcSettings(
  configuration: OIDCAuthenticationPolicy,
  path: FieldPath,
): HttpAuthenticationSettings {
  const {
    clientId,
    clientSecret,
    authorizationEndpointUrl,
    tokenEndpointUrl,
    userInfoSource,
    metadataExtractionJmespathExpression,
    redirectUrl,
    scopes,
    cookieSeed,
    httpClient,
    ...rest
  } = configuration;
  refuse(rest, path);
  return {
    kind: "oidc",
    ...all({
      clientId: () => clientId,
      clientSecret: () => clientSecret,
      authorizationEndpointUrl: () =>
        httpUrl(authorizationEndpointUrl, path.field("authorizationEndpointUrl")),
      tokenEndpointUrl: () => httpUrl(tokenEndpointUrl, path.field("tokenEndpointUrl")),
      userInfoEndpointUrl: () => userInfoEndpointUrl(userInfoSource, path),
      metadataExtraction: () =>
        jmespathSettings(
          metadataExtractionJmespathExpression,
          path.field("metadataExtractionJmespathExpression"),
        ),
      redirectUrl: () => httpUrl(redirectUrl, path.field("redirectUrl")),
      scopes: () => scopes,
      cookieSeed: () => {
        if (cookieSeed.length === 0) {
          throw new ConfigurationError(`${path}.cookieSeed is missing: give random bytes, as base64`);
        }
        // Of everything, so that no session outlives a change.
        const all = toBinary(OIDCAuthenticationPolicySchema, configuration);
        return createHash("sha256").update(all).digest("base64");
      },
      httpClient: () => httpClientSettings(httpClient, path.field("httpClient")),
    }),
  };
}

/** Undefined where claims come with the token. */
function userInfoEndpointUrl(
  source: OIDCAuthenticationPolicy["userInfoSource"],
  path: FieldPath,
): string | undefined {
  switch (source.case) {
    case "userInfoEndpointUrl":
      return httpUrl(source.value, path.field("userInfoEndpointUrl"));
    case "useIdTokenClaims":
      return undefined;
    case undefined:
      throw new ConfigurationError(
        `${path}.userInfoEndpointUrl is missing: give it, or {"useIdTokenClaims": {}}`,
      );
  }
}
