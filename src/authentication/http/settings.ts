import type { HttpClientSettings, TokenEndpointSettings } from "../../http/settings.ts";
import type { JmespathSettings } from "../../jmespath/expression.ts";
import type { AuthenticationSettings } from "../settings.ts";

/** Who may make requests of an HTTP server: what Buildbarn's AuthenticationPolicy for these says, as plain data. */
export type HttpAuthenticationSettings =
  | Exclude<AuthenticationSettings, { readonly kind: "any" }>
  /** Whoever one of the policies lets in. */
  | { readonly kind: "any"; readonly policies: readonly HttpAuthenticationSettings[] }
  /** Whoever the policy lets in, of those whose Accept header has one of the media types. */
  | {
      readonly kind: "acceptHeader";
      readonly mediaTypes: readonly string[];
      readonly policy: HttpAuthenticationSettings;
    }
  | ({ readonly kind: "oidc" } & OidcSettings);

/** Whoever has logged in at a provider of OpenID Connect. */
export interface OidcSettings extends TokenEndpointSettings {
  /** Where users log in. */
  readonly authorizationEndpointUrl: string;
  /** Where claims come from; undefined for the ID token. */
  readonly userInfoEndpointUrl: string | undefined;
  /** Makes metadata of claims. */
  readonly metadataExtraction: JmespathSettings;
  /** A URL of this server's to which the provider sends users back. */
  readonly redirectUrl: string;
  readonly scopes: readonly string[];
  /** 32 bytes, as base64, that nobody else knows: the cookie's name and key. */
  readonly cookieSeed: string;
  /** For requests of tokens and claims. */
  readonly httpClient: HttpClientSettings;
}
