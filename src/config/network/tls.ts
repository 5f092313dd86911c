import { readFileSync } from "node:fs";
import type { GrpcTls } from "../../grpc/endpoint.ts";
import type { GrpcServerTls } from "../../grpc/server.ts";
import type {
  ClientConfiguration,
  ServerConfiguration,
  X509KeyPair,
} from "../../proto/gen/buildbarn/configuration/tls/tls_pb.ts";
import { ConfigurationError } from "../error.ts";
import type { FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";

const CIPHER_SUITES = "set GRPC_SSL_CIPHER_SUITES in the environment, in the spelling of OpenSSL";

/** Files with keys and certificates are read here, once. */
export function tlsClient(configuration: ClientConfiguration, path: FieldPath): GrpcTls {
  const { serverCertificateAuthorities, serverName, clientKeyPair, ...rest } = configuration;
  refuse(rest, path, { cipherSuites: CIPHER_SUITES });
  return {
    ...(serverCertificateAuthorities !== "" && { serverCertificateAuthorities }),
    ...(serverName !== "" && { serverName }),
    ...(clientKeyPair && keyPair(clientKeyPair, path.field("clientKeyPair"))),
  };
}

/** Files with keys and certificates are read here, once. */
export function tlsServer(configuration: ServerConfiguration, path: FieldPath): GrpcServerTls {
  const { serverKeyPair, ...rest } = configuration;
  refuse(rest, path, { cipherSuites: CIPHER_SUITES });
  if (serverKeyPair === undefined) {
    throw new ConfigurationError(`${path}.serverKeyPair is missing: give inline or files`);
  }
  return keyPair(serverKeyPair, path.field("serverKeyPair"));
}

/** The PEM texts of a key pair, given inline or as files. */
function keyPair(configuration: X509KeyPair, path: FieldPath): GrpcServerTls {
  const { keyPair: source, ...rest } = configuration;
  refuse(rest, path);
  switch (source.case) {
    case "inline": {
      const { certificate, privateKey, ...rest } = source.value;
      refuse(rest, path.field("inline"));
      return { certificate, privateKey };
    }
    case "files": {
      const { certificatePath, privateKeyPath, ...rest } = source.value;
      refuse(rest, path.field("files"), {
        refreshInterval: "files are read once; remove it, and restart when they change",
      });
      return {
        certificate: readPem(certificatePath, path.field("files.certificatePath")),
        privateKey: readPem(privateKeyPath, path.field("files.privateKeyPath")),
      };
    }
    case undefined:
      throw new ConfigurationError(`${path} is empty: give inline or files`);
  }
}

function readPem(file: string, path: FieldPath): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
