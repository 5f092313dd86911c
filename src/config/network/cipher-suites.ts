import { ConfigurationError } from "../error.ts";
import { each, type FieldPath } from "../field-path.ts";

/** TLS 1.3's, which Go always allows. */
const TLS_1_3 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/** TLS 1.2's that Go thinks secure, with OpenSSL's names for them. */
const OPENSSL_NAMES: Readonly<Record<string, string>> = {
  TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA: "ECDHE-ECDSA-AES128-SHA",
  TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA: "ECDHE-ECDSA-AES256-SHA",
  TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA: "ECDHE-RSA-AES128-SHA",
  TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA: "ECDHE-RSA-AES256-SHA",
  TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ECDHE-ECDSA-AES128-GCM-SHA256",
  TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: "ECDHE-ECDSA-AES256-GCM-SHA384",
  TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256: "ECDHE-RSA-AES128-GCM-SHA256",
  TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384: "ECDHE-RSA-AES256-GCM-SHA384",
  TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-ECDSA-CHACHA20-POLY1305",
  TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256: "ECDHE-RSA-CHACHA20-POLY1305",
};

/** Cipher suites by Go's names into OpenSSL's; undefined for none, which means the default. */
export function cipherSuites(names: readonly string[], path: FieldPath): readonly string[] | undefined {
  if (names.length === 0) {
    return undefined;
  }
  const chosen = each(names, (name, index) => {
    if (TLS_1_3.includes(name)) {
      return name;
    }
    const known = OPENSSL_NAMES[name];
    if (known === undefined) {
      throw new ConfigurationError(
        `${path.index(index)} is ${JSON.stringify(name)}: give one of ` +
          [...TLS_1_3, ...Object.keys(OPENSSL_NAMES)].join(", "),
      );
    }
    return known;
  });
  return [...new Set([...TLS_1_3, ...chosen])];
}
