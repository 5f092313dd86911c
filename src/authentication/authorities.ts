import type { AuthenticationSettings } from "./settings.ts";

/** PEM texts of those who sign the certificates that a policy asks for, each once. */
export function clientCertificateAuthorities(settings: AuthenticationSettings): readonly string[] {
  switch (settings.kind) {
    case "any":
    case "all":
      return [...new Set(settings.policies.flatMap(clientCertificateAuthorities))];
    case "clientCertificate":
      return [settings.authorities];
    default:
      return [];
  }
}

/** Whether a policy asks for the user at the other end of a UNIX socket. */
export function asksForPeerCredentials(settings: AuthenticationSettings): boolean {
  return settings.kind === "any" || settings.kind === "all"
    ? settings.policies.some(asksForPeerCredentials)
    : settings.kind === "peerCredentials";
}
