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
    };
