import { X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { type JsonObject, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { JsonWebKeys } from "../../authentication/json-web-keys.ts";
import type { AuthenticationSettings } from "../../authentication/settings.ts";
import {
  type AuthenticationMetadata,
  AuthenticationMetadataSchema,
} from "../../proto/gen/buildbarn/auth/auth_pb.ts";
import type { RemoteAuthenticationPolicy } from "../../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import type { Expression } from "../../proto/gen/buildbarn/configuration/jmespath/jmespath_pb.ts";
import type { AuthorizationHeaderParserConfiguration } from "../../proto/gen/buildbarn/configuration/jwt/jwt_pb.ts";
import type { ClientCertificateVerifierConfiguration } from "../../proto/gen/buildbarn/configuration/x509/x509_pb.ts";
import { ConfigurationError } from "../error.ts";
import { leastRecentlyUsed } from "../eviction.ts";
import { all, each, type FieldPath } from "../field-path.ts";
import { jmespathSettings } from "../jmespath.ts";
import { refuse } from "../refuse.ts";
import { atLeastZero, positive, readable } from "../values.ts";
import { grpcEndpoint } from "./grpc-client.ts";

export function allowSettings(metadata: AuthenticationMetadata, path: FieldPath): AuthenticationSettings {
  try {
    return { kind: "allow", metadata: toJson(AuthenticationMetadataSchema, metadata) as JsonObject };
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

export function clientCertificateSettings(
  configuration: ClientCertificateVerifierConfiguration,
  path: FieldPath,
): AuthenticationSettings {
  const {
    clientCertificateAuthorities,
    validationJmespathExpression,
    metadataExtractionJmespathExpression,
    ...rest
  } = configuration;
  refuse(rest, path);
  return {
    kind: "clientCertificate",
    ...all({
      authorities: () =>
        certificates(clientCertificateAuthorities, path.field("clientCertificateAuthorities")),
      validation: () =>
        jmespathSettings(validationJmespathExpression, path.field("validationJmespathExpression")),
      metadataExtraction: () =>
        jmespathSettings(
          metadataExtractionJmespathExpression,
          path.field("metadataExtractionJmespathExpression"),
        ),
    }),
  };
}

export function peerCredentialsSettings(expression: Expression, path: FieldPath): AuthenticationSettings {
  return { kind: "peerCredentials", metadataExtraction: jmespathSettings(expression, path) };
}

export function jwtSettings(
  configuration: AuthorizationHeaderParserConfiguration,
  path: FieldPath,
): AuthenticationSettings {
  const {
    jwks,
    maximumCacheSize,
    cacheReplacementPolicy,
    claimsValidationJmespathExpression,
    metadataExtractionJmespathExpression,
    ...rest
  } = configuration;
  refuse(rest, path);
  leastRecentlyUsed(cacheReplacementPolicy, path.field("cacheReplacementPolicy"));
  return {
    kind: "jwt",
    ...all({
      keys: () => keysOf(jwks, path),
      maximumCacheSize: () => positive(BigInt(maximumCacheSize), path.field("maximumCacheSize")),
      claimsValidation: () =>
        jmespathSettings(
          claimsValidationJmespathExpression,
          path.field("claimsValidationJmespathExpression"),
        ),
      metadataExtraction: () =>
        jmespathSettings(
          metadataExtractionJmespathExpression,
          path.field("metadataExtractionJmespathExpression"),
        ),
    }),
  };
}

/**
 * @param checkHeader Throws a ConfigurationError for what cannot be a header's name.
 * @param forwardedHeaders What a call to the service has of the one that it is asked about.
 */
export function remoteSettings(
  configuration: RemoteAuthenticationPolicy,
  path: FieldPath,
  checkHeader: (name: string, path: FieldPath) => void,
  forwardedHeaders: readonly string[] = [],
): AuthenticationSettings {
  const { headers, endpoint, scope, maximumCacheSize, cacheReplacementPolicy, ...rest } = configuration;
  refuse(rest, path);
  leastRecentlyUsed(cacheReplacementPolicy, path.field("cacheReplacementPolicy"));
  return {
    kind: "remote",
    ...all({
      endpoint: () => ({
        ...grpcEndpoint(endpoint, path.field("endpoint")),
        ...(forwardedHeaders.length > 0 && { forwardedHeaders }),
      }),
      headers: () =>
        each(headers, (name, index) => {
          checkHeader(name, path.field("headers").index(index));
          return name;
        }),
      scope: () => scope && toJson(ValueSchema, scope),
      maximumCacheSize: () => atLeastZero(BigInt(maximumCacheSize), path.field("maximumCacheSize")),
    }),
  };
}

/** Keys are tried here, so that a mistake shows at the start. */
function keysOf(jwks: AuthorizationHeaderParserConfiguration["jwks"], path: FieldPath) {
  switch (jwks.case) {
    case "jwksInline":
      return usable({ set: jwks.value }, () => jwks.value, path.field("jwksInline"));
    case "jwksFile": {
      const file = readable(jwks.value, path.field("jwksFile"));
      return usable({ file }, () => JSON.parse(readFileSync(file, "utf8")), path.field("jwksFile"));
    }
    case undefined:
      throw new ConfigurationError(`${path}.jwksFile is missing: give it, or jwksInline`);
  }
}

function usable<Keys>(keys: Keys, read: () => unknown, path: FieldPath): Keys {
  try {
    new JsonWebKeys(read());
    return keys;
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

function certificates(pem: string, path: FieldPath): string {
  try {
    new X509Certificate(pem);
    return pem;
  } catch (error) {
    throw new ConfigurationError(`${path} has no certificate: give PEM (${(error as Error).message})`, {
      cause: error,
    });
  }
}
