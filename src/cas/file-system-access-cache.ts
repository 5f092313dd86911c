import type { CallCounts } from "../grpc/calls/counts.ts";
import type { DigestFunction_Value } from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { FileSystemAccessCache, type FileSystemAccessProfile } from "../proto/gen/buildbarn/fsac/fsac_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../reapi/blob-error.ts";
import type { Digest } from "../reapi/digest.ts";
import { digestMessage } from "../reapi/wire-digest.ts";
import type { BlobBackend } from "./backend.ts";
import { type Connected, ServiceConnections } from "./service-connections.ts";
import {
  type Attempt,
  DEFAULT_RETRY_POLICY,
  type RetryPolicy,
  retry,
  SYSTEM_CLOCK,
} from "./transfer/retry.ts";

/** What a profile says, without what protobuf adds. */
export type AccessProfile = Pick<FileSystemAccessProfile, "bloomFilter" | "bloomFilterHashFunctions">;

/**
 * Remembers, by the digest of a reduced action, what such actions read of their input roots. Methods reject with
 * BlobError, and with the signal's reason once that aborts.
 */
export class FileSystemAccessCacheClient implements Disposable {
  readonly #connections: ServiceConnections<typeof FileSystemAccessCache>;
  readonly #policy: RetryPolicy;

  constructor(backend: BlobBackend, policy: RetryPolicy = DEFAULT_RETRY_POLICY, callCounts?: CallCounts) {
    this.#connections = new ServiceConnections(FileSystemAccessCache, backend, callCounts);
    this.#policy = policy;
  }

  /** undefined if there is none. Of several servers, the first that has one counts. */
  async get(digest: Digest, signal: AbortSignal): Promise<AccessProfile | undefined> {
    for (const connected of this.#connections.routes(digest)) {
      try {
        return await this.#call("GetFileSystemAccessProfile", connected, digest, signal, (key, attempt) =>
          connected.client.getFileSystemAccessProfile(key, { signal: attempt.signal }),
        );
      } catch (error) {
        if (!(error instanceof BlobError && error.code === Code.NOT_FOUND)) {
          throw error;
        }
      }
    }
    return undefined;
  }

  async update(digest: Digest, profile: AccessProfile, signal: AbortSignal): Promise<void> {
    const { bloomFilter, bloomFilterHashFunctions } = profile;
    const fileSystemAccessProfile = { bloomFilter, bloomFilterHashFunctions };
    await Promise.all(
      this.#connections
        .routes(digest)
        .map((connected) =>
          this.#call("UpdateFileSystemAccessProfile", connected, digest, signal, (key, attempt) =>
            connected.client.updateFileSystemAccessProfile(
              { ...key, fileSystemAccessProfile },
              { signal: attempt.signal },
            ),
          ),
        ),
    );
  }

  [Symbol.dispose](): void {
    this.#connections.close();
  }

  async #call<T>(
    what: string,
    { server, instanceName }: Connected<typeof FileSystemAccessCache>,
    digest: Digest,
    signal: AbortSignal,
    call: (key: Key, attempt: Attempt) => Promise<T>,
  ): Promise<T> {
    const key: Key = {
      instanceName,
      digestFunction: digest.function.value,
      reducedActionDigest: digestMessage(digest),
    };
    return retry(
      `${what} for ${digest.hash}-${digest.sizeBytes} at ${server.endpoint.address}`,
      this.#policy,
      server.timeoutMilliseconds ?? this.#policy.attemptTimeoutMilliseconds,
      SYSTEM_CLOCK,
      signal,
      (attempt) => call(key, attempt),
    );
  }
}

interface Key {
  readonly instanceName: string;
  readonly digestFunction: DigestFunction_Value;
  readonly reducedActionDigest: ReturnType<typeof digestMessage>;
}
