import type { AuthenticationSettings } from "../settings.ts";

/** Who may make requests of an HTTP server: what Buildbarn's AuthenticationPolicy for these says, as plain data. */
export type HttpAuthenticationSettings =
  | Exclude<AuthenticationSettings, { readonly kind: "any" }>
  /** Whoever one of the policies lets in. */
  | { readonly kind: "any"; readonly policies: readonly HttpAuthenticationSettings[] };
