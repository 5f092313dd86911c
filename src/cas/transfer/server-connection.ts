import type { Channel } from "@grpc/grpc-js";
import { BYTE_STREAM_CODECS } from "../../grpc/byte-stream-codecs.ts";
import type { CallCounts } from "../../grpc/calls/counts.ts";
import { type Client, createClient } from "../../grpc/client.ts";
import { openChannel } from "../../grpc/endpoint.ts";
import {
  Capabilities,
  Compressor_Value,
  ContentAddressableStorage,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../proto/gen/google/bytestream/bytestream_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import type { BlobServer } from "../blob-server.ts";
import { type Attempt, type Clock, type RetryPolicy, retry } from "./retry.ts";

/** What we heed of a storage server's capabilities. */
export interface StorageCapabilities {
  /** Limit of the blobs' sizes in one BatchReadBlobs or BatchUpdateBlobs. */
  readonly maximumBatchBytes: number;
  /** Whether ByteStream and BatchReadBlobs know Zstandard. */
  readonly zstd: boolean;
  /** Whether BatchUpdateBlobs knows Zstandard. */
  readonly batchUpdateZstd: boolean;
}

/** gRPC's usual limit of 4 MiB for a message, less what digests and framing take. */
const MESSAGE_BUDGET = 4 * 1024 * 1024 - 256 * 1024;

/**
 * HTTP/2's default of 64 KiB halves the throughput even on loopback. More than this gains little; and a server
 * that does not know read limits may send this much in vain.
 */
const WINDOW_BYTES = 1024 * 1024;

/** A channel to a storage server, the clients on it, and the repetition of their calls. */
export class ServerConnection {
  readonly storage: Client<typeof ContentAddressableStorage>;
  readonly byteStream: Client<typeof ByteStream>;
  /** False once the server has answered a limited read with UNIMPLEMENTED, as Buildbarn's does. */
  limitsReads = true;
  readonly #channel: Channel;
  readonly #capabilitiesClient: Client<typeof Capabilities>;
  readonly #capabilities = new Map<string, Promise<StorageCapabilities>>();
  readonly #server: BlobServer;
  readonly #policy: RetryPolicy;
  readonly #clock: Clock;

  constructor(server: BlobServer, policy: RetryPolicy, clock: Clock, callCounts?: CallCounts) {
    this.#server = server;
    this.#policy = policy;
    this.#clock = clock;
    this.#channel = openChannel({ initialWindowSizeBytes: WINDOW_BYTES, ...server.endpoint });
    const options = { callCounts };
    this.storage = createClient(ContentAddressableStorage, this.#channel, options);
    this.byteStream = createClient(ByteStream, this.#channel, { ...options, codecs: BYTE_STREAM_CODECS });
    this.#capabilitiesClient = createClient(Capabilities, this.#channel, options);
  }

  /** Begins to connect, without waiting for the first call. */
  open(): void {
    this.#channel.getConnectivityState(true);
  }

  /** A call without streams, repeated as the policy says. */
  call<T>(
    what: string,
    signal: AbortSignal | undefined,
    attempt: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const timeout = this.#server.timeoutMilliseconds ?? this.#policy.attemptTimeoutMilliseconds;
    return retry(this.#describe(what), this.#policy, timeout, this.#clock, signal, attempt);
  }

  /** A call with a stream, which may take any time as long as something moves. */
  stream<T>(
    what: string,
    signal: AbortSignal | undefined,
    attempt: (attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const timeout = this.#policy.idleTimeoutMilliseconds;
    return retry(this.#describe(what), this.#policy, timeout, this.#clock, signal, attempt);
  }

  /** Asked once per instance name; again after a failure. */
  capabilities(instanceName: string): Promise<StorageCapabilities> {
    let capabilities = this.#capabilities.get(instanceName);
    if (capabilities === undefined) {
      capabilities = this.#askCapabilities(instanceName);
      this.#capabilities.set(instanceName, capabilities);
      capabilities.catch(() => this.#capabilities.delete(instanceName));
    }
    return capabilities;
  }

  close(): void {
    this.#channel.close();
  }

  async #askCapabilities(instanceName: string): Promise<StorageCapabilities> {
    try {
      const { cacheCapabilities } = await this.call("GetCapabilities", undefined, ({ signal }) =>
        this.#capabilitiesClient.getCapabilities({ instanceName }, { signal }),
      );
      const announced = Number(cacheCapabilities?.maxBatchTotalSizeBytes ?? 0n);
      const zstd = (compressors: readonly Compressor_Value[] = []) =>
        this.#server.compression && compressors.includes(Compressor_Value.ZSTD);
      return {
        maximumBatchBytes: announced > 0 ? Math.min(announced, MESSAGE_BUDGET) : MESSAGE_BUDGET,
        zstd: zstd(cacheCapabilities?.supportedCompressors),
        batchUpdateZstd: zstd(cacheCapabilities?.supportedBatchUpdateCompressors),
      };
    } catch (error) {
      if (error instanceof BlobError && error.code === Code.UNIMPLEMENTED) {
        return { maximumBatchBytes: MESSAGE_BUDGET, zstd: false, batchUpdateZstd: false };
      }
      throw error;
    }
  }

  #describe(what: string): string {
    return `${what} at ${this.#server.endpoint.address}`;
  }
}
