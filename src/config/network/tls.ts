import type { KeyPair, TlsClient, TlsServer } from "../../http/tls.ts";
import type {
  ClientConfiguration,
  ServerConfiguration,
  X509KeyPair,
} from "../../proto/gen/buildbarn/configuration/tls/tls_pb.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { readable } from "../values.ts";
import { cipherSuites } from "./cipher-suites.ts";

export function tlsClient(configuration: ClientConfiguration, path: FieldPath): TlsClient {
  const {
    serverCertificateAuthorities,
    serverName,
    clientKeyPair,
    cipherSuites: suiteNames,
    ...rest
  } = configuration;
  refuse(rest, path);
  const suites = cipherSuites(suiteNames, path.field("cipherSuites"));
  return {
    ...(serverCertificateAuthorities !== "" && { serverCertificateAuthorities }),
    ...(serverName !== "" && { serverName }),
    ...(clientKeyPair && { clientKeyPair: keyPair(clientKeyPair, path.field("clientKeyPair")) }),
    ...(suites && { cipherSuites: suites }),
  };
}

export function tlsServer(configuration: ServerConfiguration, path: FieldPath): TlsServer {
  const { serverKeyPair, cipherSuites: suiteNames, ...rest } = configuration;
  refuse(rest, path);
  if (serverKeyPair === undefined) {
    throw new ConfigurationError(`${path}.serverKeyPair is missing: give inline or files`);
  }
  const suites = cipherSuites(suiteNames, path.field("cipherSuites"));
  return {
    keyPair: keyPair(serverKeyPair, path.field("serverKeyPair")),
    ...(suites && { cipherSuites: suites }),
  };
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
