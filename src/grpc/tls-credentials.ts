import type { SecureServerOptions } from "node:http2";
import { createSecureContext, type SecureContextOptions } from "node:tls";
import { CallCredentials, ChannelCredentials, ServerCredentials } from "@grpc/grpc-js";
import { cipherOptions, keyPairOptions, type TlsClient, type TlsServer, watchKeyPair } from "../http/tls.ts";

type ConnectorArguments = Parameters<ChannelCredentials["_createSecureConnector"]>;
type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/**
 * TLS as configured. grpc-js's own has the ciphers of an environment variable, and no way to change those of a key pair in
 * files.
 */
export class TlsChannelCredentials extends ChannelCredentials {
  readonly #tls: TlsClient;
  #latest: { readonly credentials: ChannelCredentials; readonly expires: number } | undefined;

  constructor(tls: TlsClient) {
    super();
    this.#tls = tls;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...[target, options, call]: ConnectorArguments): SecureConnector {
    return {
      connect: async (socket) =>
        this.#current()._createSecureConnector(target, options, call).connect(socket),
      waitForReady: async () => {},
      getCallCredentials: () => call ?? CallCredentials.createEmpty(),
      destroy() {},
    };
  }

  /** Files are read when a connection is made and the last time is long enough ago; if they can be read. */
  #current(): ChannelCredentials {
    const now = performance.now();
    if (this.#latest !== undefined && now < this.#latest.expires) {
      return this.#latest.credentials;
    }
    const { clientKeyPair: pair } = this.#tls;
    const expires =
      pair && "certificatePath" in pair ? now + pair.refreshMilliseconds : Number.POSITIVE_INFINITY;
    try {
      this.#latest = { credentials: this.#read(), expires };
    } catch (error) {
      if (this.#latest === undefined) {
        throw error;
      }
      this.#latest = { credentials: this.#latest.credentials, expires };
    }
    return this.#latest.credentials;
  }

  #read(): ChannelCredentials {
    const { serverCertificateAuthorities: ca, clientKeyPair, cipherSuites } = this.#tls;
    return ChannelCredentials.createFromSecureContext(
      createSecureContext({
        ...(ca !== undefined && { ca }),
        ...(clientKeyPair && keyPairOptions(clientKeyPair)),
        ...cipherOptions(cipherSuites),
      }),
    );
  }
}

/**
 * TLS as configured, with a key pair that may be renewed. With authorities, clients are asked for certificates. Whoever
 * has none that these have signed is let in all the same: it is for a policy to say what becomes of them.
 */
export class TlsServerCredentials extends ServerCredentials {
  readonly #tls: TlsServer;
  readonly #authorities: { readonly ca?: string };
  #stopWatching = () => {};

  /** Throws an Error for files that cannot be read. */
  constructor(tls: TlsServer, clientCertificateAuthorities: string | undefined) {
    const authorities =
      clientCertificateAuthorities === undefined ? {} : { ca: clientCertificateAuthorities };
    const constructorOptions: SecureServerOptions = {
      requestCert: clientCertificateAuthorities !== undefined,
      rejectUnauthorized: false,
    };
    super(constructorOptions, {
      ...keyPairOptions(tls.keyPair),
      ...cipherOptions(tls.cipherSuites),
      ...authorities,
    });
    this.#tls = tls;
    this.#authorities = authorities;
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }

  override _addWatcher(watcher: (context: SecureContextOptions | null) => void): void {
    if (this.getWatcherCount() === 0) {
      this.#stopWatching = watchKeyPair(this.#tls, (options) =>
        this.updateSecureContextOptions({ ...options, ...this.#authorities }),
      );
    }
    super._addWatcher(watcher);
  }

  override _removeWatcher(watcher: (context: SecureContextOptions | null) => void): void {
    super._removeWatcher(watcher);
    if (this.getWatcherCount() === 0) {
      this.#stopWatching();
    }
  }
}
