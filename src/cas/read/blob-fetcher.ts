import { Batcher } from "../../async/batcher.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError, blobFailure } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import type { BlobBackend } from "../backend.ts";
import type { BlobRoute } from "../blob-server.ts";
import type { MemoryCache } from "../cache/memory-cache.ts";
import { asFrame, contentOf, entryBytes } from "../local/layout.ts";
import type { LocalStore } from "../local/local-store.ts";
import type { NewEntry } from "../local/options.ts";
import { WriteBehind } from "../local/write-behind.ts";
import type { StorageStatistics } from "../statistics.ts";
import { toPortable } from "../transfer/portable.ts";
import type { TransferPool } from "../transfer/transfer-pool.ts";

/** What a blob is wanted for. Only files are kept in memory: whoever decodes a message keeps the result. */
export type BlobUse = "file" | "message" | "directory";

export interface BlobFetcherOptions {
  readonly backend: BlobBackend;
  readonly pool: TransferPool;
  readonly store: LocalStore;
  readonly memory: MemoryCache;
  readonly statistics: StorageStatistics;
}

/** Blobs up to this size share a message. */
const BATCHED_BLOB_BYTES = 64 * 1024;
/** Limits of a batch, so that the first blob does not wait long for the last. */
const BATCH_BYTES = 512 * 1024;
const BATCH_COUNT = 256;
const BATCHES_IN_PROGRESS = 4;

/**
 * Fetches whole blobs from storage, each once, however many want it. It hands them out as soon as they are
 * verified, and puts them into the caches.
 */
export class BlobFetcher {
  readonly #backend: BlobBackend;
  readonly #pool: TransferPool;
  readonly #store: LocalStore;
  readonly #writeBehind: WriteBehind;
  readonly #memory: MemoryCache;
  readonly #statistics: StorageStatistics;
  readonly #batcher: Batcher<Wanted, Arrived>;
  readonly #pending = new Map<string, Promise<Uint8Array>>();

  constructor({ backend, pool, store, memory, statistics }: BlobFetcherOptions) {
    this.#backend = backend;
    this.#pool = pool;
    this.#store = store;
    this.#writeBehind = new WriteBehind(store);
    this.#memory = memory;
    this.#statistics = statistics;
    this.#batcher = new Batcher<Wanted, Arrived>({
      maximumCount: BATCH_COUNT,
      maximumBytes: BATCH_BYTES,
      bytes: ({ digest }) => digest.sizeBytes,
      group: ({ digest, route }) => `${route.server} ${digest.function.name} ${route.instanceName}`,
      maximumConcurrency: BATCHES_IN_PROGRESS,
      run: (wanted) => this.#fetchBlobs(wanted, true),
    });
  }

  /** The blob, if it is being fetched. */
  pending(key: string): Promise<Uint8Array> | undefined {
    return this.#pending.get(key);
  }

  /** Fetches a blob that is not {@link pending}. Rejects with {@link BlobError}. */
  fetch(digest: Digest, key: string, use: BlobUse): Promise<Uint8Array> {
    const arrival = this.#fetch(digest, use);
    const fetch = arrival.then(({ content }) => content);
    this.#pending.set(key, fetch);
    const forget = () => this.#pending.delete(key);
    // Until it is in the store, nobody else would find it there.
    arrival.then(({ kept }) => (kept instanceof Promise ? void kept.then(forget) : forget()), forget);
    return fetch;
  }

  /** Has what was fetched written to the store. */
  flush(): void {
    this.#writeBehind.flush();
  }

  /** Where to fetch the blob from. Throws {@link BlobError} if no server has its instance. */
  route(digest: Digest): BlobRoute {
    try {
      return this.#backend.route(digest);
    } catch (error) {
      throw blobFailure(digest, asBlobError(error, "blob storage"));
    }
  }

  async #fetch(digest: Digest, use: BlobUse): Promise<Arrived> {
    const wanted = { digest, route: this.route(digest) };
    const arrived = await (digest.sizeBytes <= BATCHED_BLOB_BYTES
      ? this.#batcher.add(wanted)
      : this.#fetchAlone(wanted)
    ).catch((error: unknown) => {
      const failure = blobFailure(digest, asBlobError(error, "fetch"));
      if (failure.code === Code.DATA_LOSS) {
        this.#statistics.corruptBlobs++;
      }
      throw failure;
    });
    const { content } = arrived;
    this.#statistics.blobsFetched++;
    this.#statistics.bytesFetched += content.length;
    if (use === "directory") {
      this.#statistics.directoriesFetched++;
      this.#statistics.directoryBytesFetched += content.length;
    }
    if (use === "file") {
      this.#memory.setBlob(digest, ofItsOwn(content));
    }
    return arrived;
  }

  async #fetchAlone(wanted: Wanted): Promise<Arrived> {
    const [blob] = await this.#fetchBlobs([wanted], false);
    if (blob instanceof BlobError) {
      throw blob;
    }
    return blob!;
  }

  /** Fetches blobs and puts those that there are into the store, in one go. */
  async #fetchBlobs(wanted: readonly Wanted[], together: boolean): Promise<(Arrived | BlobError)[]> {
    const fetched = await this.#pool.run({
      kind: "fetchBlobs",
      server: wanted[0]!.route.server,
      together,
      digests: wanted.map(({ digest, route }) => toPortable(digest, route.instanceName)),
    });
    const entries: NewEntry[] = [];
    const contents = wanted.map(({ digest }, index) => {
      const blob = fetched[index]!;
      if (!(blob instanceof Uint8Array)) {
        return new BlobError(blob.code, blob.message);
      }
      const frame = asFrame(blob);
      const [key] = this.#store.keysOf(digestKey(digest), digest.instanceName);
      entries.push({ key, frame, contentBytes: digest.sizeBytes });
      return contentOf(frame, digest.sizeBytes);
    });
    const kept = this.#writeBehind.put(entries);
    return contents.map((content) => (content instanceof BlobError ? content : { content, kept }));
  }
}

/** A blob that was fetched. */
interface Arrived {
  readonly content: Uint8Array;
  /** Whether it is in the store. */
  readonly kept: boolean | Promise<boolean>;
}

interface Wanted {
  readonly digest: Digest;
  readonly route: BlobRoute;
}

/** Bytes that keep no others in memory, as they would that came together with more. */
function ofItsOwn(content: Uint8Array): Uint8Array {
  return content.buffer.byteLength <= entryBytes(content.length) ? content : new Uint8Array(content);
}
