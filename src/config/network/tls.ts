import { readFileSync } from "node:fs";
import type { KeyPair } from "../../grpc/certificates.ts";
import type { GrpcTls } from "../../grpc/endpoint.ts";
import type {
  ClientConfiguration,
  ServerConfiguration,
  X509KeyPair,
} from "../../proto/gen/buildbarn/configuration/tls/tls_pb.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";

const CIPHER_SUITES = "set GRPC_SSL_CIPHER_SUITES in the environment, in the spelling of OpenSSL";

export function tlsClient(configuration: ClientConfiguration, path: FieldPath): GrpcTls {
  const { serverCertificateAuthorities, serverName, clientKeyPair, ...rest } = configuration;
  refuse(rest, path, { cipherSuites: CIPHER_SUITES });
  return {
    ...(serverCertificateAuthorities !== "" && { serverCertificateAuthorities }),
    ...(serverName !== "" && { serverName }),
    ...(clientKeyPair && { clientKeyPair: keyPair(clientKeyPair, path.field("clientKeyPair")) }),
  };
}

export function tlsServer(configuration: ServerConfiguration, path: FieldPath): KeyPair {
  const { serverKeyPair, ...rest } = configuration;
  refuse(rest, path, { cipherSuites: CIPHER_SUITES });
  if (serverKeyPair === undefined) {
    throw new ConfigurationError(`${path}.serverKeyPair is missing: give inline or files`);
  }
  return keyPair(serverKeyPair, path.field("serverKeyPair"));
}

/** Files are tried here, so that a mistake shows at the start. */
function keyPair(configuration: X509KeyPair, path: FieldPath): KeyPair {
  const { keyPair: source, ...rest } = configuration;
  refuse(rest, path);
  switch (source.case) {
    case "inline": {
      const { certificate, privateKey, ...rest } = source.value;
      refuse(rest, path.field("inline"));
      return { certificate, privateKey };
    }
    case "files": {
      const { certificatePath, privateKeyPath, refreshInterval, ...rest } = source.value;
      const files = path.field("files");
      refuse(rest, files);
      return all({
        certificatePath: () => readable(certificatePath, files.field("certificatePath")),
        privateKeyPath: () => readable(privateKeyPath, files.field("privateKeyPath")),
        refreshMilliseconds: () => positiveMilliseconds(refreshInterval, files.field("refreshInterval")),
      });
    }
    case undefined:
      throw new ConfigurationError(`${path} is empty: give inline or files`);
  }
}

function readable(file: string, path: FieldPath): string {
  try {
    readFileSync(file);
    return file;
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
