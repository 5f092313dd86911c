import { Semaphore } from "../../async/semaphore.ts";
import { SingleFlight } from "../../async/single-flight.ts";
import { createClient } from "../../grpc/client.ts";
import { type GrpcEndpoint, openChannel } from "../../grpc/endpoint.ts";
import { Replicator as ReplicatorService } from "../../proto/gen/buildbarn/replicator/replicator_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";
import type { Digest } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import { contentOf } from "../local/layout.ts";
import { fromPortable, type PortableDigest } from "../transfer/portable.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";
import { type BlobAccess, keyOf, type Run } from "./blob-access.ts";
import type { ExistenceCache } from "./existence-caching.ts";

/** A blob to copy; with its content, if that has been read already. */
export interface Replica {
  readonly digest: PortableDigest;
  readonly content?: Uint8Array;
}

/** Copies blobs that one backend has to another that lacks them. */
export interface Replicator {
  /** Rejects with {@link BlobError}; with the signal's reason once that aborts. */
  replicate(run: Run, replicas: readonly Replica[], signal?: AbortSignal): Promise<void>;
}

/** Blobs up to this size share a message. */
const BATCHED_BLOB_BYTES = 64 * 1024;
const BATCH_BYTES = 2 * 1024 * 1024;
const BATCH_COUNT = 500;

/** This process reads and writes them. */
export class LocalReplicator implements Replicator {
  readonly #source: BlobAccess;
  readonly #sink: BlobAccess;

  constructor(source: BlobAccess, sink: BlobAccess) {
    this.#source = source;
    this.#sink = sink;
  }

  async replicate(run: Run, replicas: readonly Replica[], signal?: AbortSignal): Promise<void> {
    let batch: { digest: PortableDigest; content: Uint8Array }[] = [];
    let bytes = 0;
    const send = async () => {
      const blobs = batch;
      batch = [];
      bytes = 0;
      const failures = blobs.length > 0 ? await this.#sink.uploadBatch(run, blobs, signal) : [];
      const failure = failures.find((each) => each !== undefined);
      if (failure !== undefined) {
        throw new BlobError(failure.code, failure.message);
      }
    };
    for (const { digest, content } of replicas) {
      if (content === undefined || content.length > BATCHED_BLOB_BYTES) {
        const source = content ? inMemory(content) : this.#remoteContent(run, digest, signal);
        await this.#sink.upload(run, digest, source, signal);
        continue;
      }
      if (batch.length === BATCH_COUNT || bytes + content.length > BATCH_BYTES) {
        await send();
      }
      batch.push({ digest, content });
      bytes += content.length;
    }
    await send();
  }

  #remoteContent(run: Run, digest: PortableDigest, signal: AbortSignal | undefined): RandomAccess {
    return {
      read: async (offset, count) => {
        const pieces: Uint8Array[] = [];
        const length = Math.min(count, digest.sizeBytes - offset);
        await this.#source.fetchRange(
          run,
          // One chunk.
          { digest, offset, length, chunkSizeBytes: Math.max(1, length) },
          (_index, frame) => pieces.push(contentOf(frame, length)),
          signal,
        );
        return Buffer.concat(pieces);
      },
    };
  }
}

function inMemory(content: Uint8Array): RandomAccess {
  return { read: async (offset, count) => content.subarray(offset, offset + count) };
}

/** What is read from the one backend stays there. */
export const NO_REPLICATION: Replicator = {
  async replicate() {},
};

/** A server that reaches both backends does it. */
export class RemoteReplicator implements Replicator {
  readonly #endpoint: GrpcEndpoint;

  constructor(endpoint: GrpcEndpoint) {
    this.#endpoint = endpoint;
  }

  async replicate(_run: Run, replicas: readonly Replica[], signal?: AbortSignal): Promise<void> {
    const channel = openChannel(this.#endpoint);
    try {
      const client = createClient(ReplicatorService, channel);
      for (const digests of groupsOf(replicas)) {
        const [{ instanceName, function: digestFunction }] = digests.map(fromPortable) as [Digest];
        await client.replicateBlobs(
          {
            instanceName,
            digestFunction: digestFunction.value,
            blobDigests: digests.map((digest) => digestMessage(fromPortable(digest))),
          },
          { signal },
        );
      }
    } catch (error) {
      signal?.throwIfAborted();
      throw asBlobError(error, `ReplicateBlobs at ${this.#endpoint.address}`);
    } finally {
      channel.close();
    }
  }
}

/** By instance name and digest function, as one request has one of each. */
function groupsOf(replicas: readonly Replica[]): Iterable<PortableDigest[]> {
  const digests = replicas.map(({ digest }) => digest);
  return Map.groupBy(digests, (digest) => `${digest.function} ${digest.instanceName}`).values();
}

/** Each blob once at a time, however many want it copied. */
export class DeduplicatingReplicator implements Replicator {
  readonly #base: Replicator;
  readonly #flights = new SingleFlight<void>();

  constructor(base: Replicator) {
    this.#base = base;
  }

  async replicate(run: Run, replicas: readonly Replica[], signal?: AbortSignal): Promise<void> {
    const fresh = replicas.filter(({ digest }) => !this.#flights.has(keyOf(digest)));
    const copying = Promise.withResolvers<void>();
    copying.promise.catch(() => {});
    const all = replicas.map((replica) =>
      this.#flights.run(keyOf(replica.digest), signal, () => copying.promise),
    );
    this.#base.replicate(run, fresh, signal).then(copying.resolve, copying.reject);
    await Promise.all(all);
  }
}

/** Not more than so many at a time. */
export class ConcurrencyLimitingReplicator implements Replicator {
  readonly #base: Replicator;
  readonly #semaphore: Semaphore;

  constructor(base: Replicator, maximumConcurrency: number) {
    this.#base = base;
    this.#semaphore = new Semaphore(maximumConcurrency);
  }

  replicate(run: Run, replicas: readonly Replica[], signal?: AbortSignal): Promise<void> {
    return this.#semaphore.run(signal, () => this.#base.replicate(run, replicas, signal));
  }
}

/** One call at a time, for what has not been copied a short while ago. */
export class QueuedReplicator implements Replicator {
  readonly #base: Replicator;
  readonly #copied: ExistenceCache;
  readonly #queue = new Semaphore(1);

  constructor(base: Replicator, copied: ExistenceCache) {
    this.#base = base;
    this.#copied = copied;
  }

  async replicate(run: Run, replicas: readonly Replica[], signal?: AbortSignal): Promise<void> {
    if (this.#fresh(replicas).length === 0) {
      return;
    }
    await this.#queue.run(signal, async () => {
      const fresh = this.#fresh(replicas);
      await this.#base.replicate(run, fresh, signal);
      this.#copied.add(fresh.map(({ digest }) => digest));
    });
  }

  #fresh(replicas: readonly Replica[]): readonly Replica[] {
    const unknown = new Set(this.#copied.unknown(replicas.map(({ digest }) => digest)));
    return replicas.filter(({ digest }) => unknown.has(digest));
  }
}
