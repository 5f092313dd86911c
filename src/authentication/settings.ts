import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import type { GrpcEndpoint } from "../grpc/endpoint.ts";
import type { JmespathSettings } from "../jmespath/expression.ts";
import type { AuthenticationMetadata } from "./metadata.ts";

/** Who may call a server, and what is then known of the caller: what Buildbarn's AuthenticationPolicy says. */
export type AuthenticationSettings =
  | { readonly kind: "allow"; readonly metadata: AuthenticationMetadata }
  | { readonly kind: "deny"; readonly message: string }
  /** Whoever one of the policies lets in. */
  | { readonly kind: "any"; readonly policies: readonly AuthenticationSettings[] }
  /** Whoever all of the policies let in; what later ones know replaces what earlier ones do. */
  | { readonly kind: "all"; readonly policies: readonly AuthenticationSettings[] }
  | ({ readonly kind: "clientCertificate" } & ClientCertificateSettings)
  | ({ readonly kind: "jwt" } & JwtSettings)
  | ({ readonly kind: "remote" } & RemoteSettings)
  /** Whoever is connected by a UNIX socket. The expression makes metadata of `uid` and `groups`. */
  | { readonly kind: "peerCredentials"; readonly metadataExtraction: JmespathSettings };

/** Whoever shows a certificate. The expressions are given its `dnsNames`, `emailAddresses` and `uris`. */
export interface ClientCertificateSettings {
  /** PEM: who must have signed it. */
  readonly authorities: string;
  /** Must make true of it. */
  readonly validation: JmespathSettings;
  /** Makes metadata of it. */
  readonly metadataExtraction: JmespathSettings;
}

/** Whoever has a JSON Web Token in the Authorization header. The expressions are given its `payload`. */
export interface JwtSettings {
  readonly keys: { readonly set: JsonObject } | { readonly file: string };
  /** How many tokens are remembered, so as not to be checked again. */
  readonly maximumCacheSize: number;
  /** Must make true of it. */
  readonly claimsValidation: JmespathSettings;
  /** Makes metadata of it. */
  readonly metadataExtraction: JmespathSettings;
}

/** Whoever buildbarn.auth.Authentication, which runs elsewhere, lets in. */
export interface RemoteSettings {
  readonly endpoint: GrpcEndpoint;
  /** Headers of a request that it is shown, by the names under which it gets them. */
  readonly headers: readonly string[];
  /** What else it is told; undefined for nothing. */
  readonly scope: JsonValue | undefined;
  /** How many answers are remembered; with 0, each request is asked about by itself. */
  readonly maximumCacheSize: number;
}
