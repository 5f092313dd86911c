import { readFileSync } from "node:fs";
import { createSecureContext, type SecureContextOptions } from "node:tls";

/** A certificate and its private key, as PEM texts. */
export interface InlineKeyPair {
  readonly certificate: string;
  readonly privateKey: string;
}

/** The same in files, which are read again at an interval, so that they can be renewed without a restart. */
export interface KeyPairFiles {
  readonly certificatePath: string;
  readonly privateKeyPath: string;
  readonly refreshMilliseconds: number;
}

export type KeyPair = InlineKeyPair | KeyPairFiles;

export interface TlsClient {
  /** PEM. Without it, the system's are used. */
  readonly serverCertificateAuthorities?: string;
  /** What the client shows of itself. */
  readonly clientKeyPair?: KeyPair;
  /** The name that the server's certificate must have, instead of the address's host. */
  readonly serverName?: string;
  /** As OpenSSL names them; absent means Node's. */
  readonly cipherSuites?: readonly string[];
}

export interface TlsServer {
  readonly keyPair: KeyPair;
  /** As OpenSSL names them; absent means Node's. */
  readonly cipherSuites?: readonly string[];
}

/** The key pair as it is now. Throws an Error for a file that cannot be read. */
export function keyPairOptions(pair: KeyPair): {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
} {
  return "certificatePath" in pair
    ? { cert: readFileSync(pair.certificatePath), key: readFileSync(pair.privateKeyPath) }
    : { cert: pair.certificate, key: pair.privateKey };
}

/** What may be spoken; as in Go, TLS 1.2 at least. */
export function cipherOptions(cipherSuites: readonly string[] | undefined): SecureContextOptions {
  return { minVersion: "TLSv1.2", ...(cipherSuites && { ciphers: cipherSuites.join(":") }) };
}

/**
 * Calls back with the options of a server's context whenever the key pair's files were read again, until the returned
 * function is called. Files that cannot be used, such as half of a pair, change nothing.
 */
export function watchKeyPair(
  { keyPair, cipherSuites }: TlsServer,
  onRead: (options: SecureContextOptions) => void,
): () => void {
  if (!("certificatePath" in keyPair)) {
    return () => {};
  }
  const timer = setInterval(() => {
    try {
      const options = { ...keyPairOptions(keyPair), ...cipherOptions(cipherSuites) };
      createSecureContext(options);
      onRead(options);
    } catch {
      // Half written; until the next time, the last pair stays.
    }
  }, keyPair.refreshMilliseconds);
  timer.unref();
  return () => clearInterval(timer);
}
