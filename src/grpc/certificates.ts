import { experimental } from "@grpc/grpc-js";

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

/** What gives grpc-js a key pair that may change. */
export function identityProvider({
  certificatePath,
  privateKeyPath,
  refreshMilliseconds,
}: KeyPairFiles): experimental.CertificateProvider {
  return new experimental.FileWatcherCertificateProvider({
    certificateFile: certificatePath,
    privateKeyFile: privateKeyPath,
    refreshIntervalMs: refreshMilliseconds,
  });
}

/** What gives grpc-js authorities that do not change. */
export function authorities(caCertificate: Buffer): experimental.CertificateProvider {
  return {
    addCaCertificateListener: (listener) => process.nextTick(listener, { caCertificate }),
    removeCaCertificateListener() {},
    addIdentityCertificateListener: (listener) => process.nextTick(listener, null),
    removeIdentityCertificateListener() {},
  };
}
