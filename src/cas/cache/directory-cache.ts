import { LRUCache } from "lru-cache";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import type { InputDirectory } from "../input-source.ts";
import type { BlobReader } from "../read/blob-reader.ts";
import { decodeDirectory } from "../read/directory-decoder.ts";
import type { StorageStatistics } from "../statistics.ts";

export interface DirectoryCacheOptions {
  /** In directories. */
  readonly maximumCount: number;
  /**
   * Of the encoded messages, as Buildbarn's `directoryCache` counts; decoded, they take about three times as
   * much.
   */
  readonly maximumSizeBytes: number;
  /** Larger messages are refused. */
  readonly maximumMessageSizeBytes: number;
}

/** Keeps decoded directories; decodes each once, however many ask for it. */
export class DirectoryCache {
  readonly #reader: BlobReader;
  readonly #statistics: StorageStatistics;
  readonly #maximumMessageSizeBytes: number;
  readonly #maximumCount: number;
  readonly #directories: LRUCache<string, InputDirectory>;
  readonly #pending = new Map<string, Promise<InputDirectory>>();

  constructor(reader: BlobReader, statistics: StorageStatistics, options: DirectoryCacheOptions) {
    this.#reader = reader;
    this.#statistics = statistics;
    this.#maximumMessageSizeBytes = options.maximumMessageSizeBytes;
    this.#maximumCount = Math.max(1, options.maximumCount);
    this.#directories = new LRUCache({
      maxSize: Math.max(1, options.maximumSizeBytes),
      onInsert: () => {
        statistics.directoriesKept++;
      },
      dispose: (_directory, _key, reason) => {
        statistics.directoryEvictions += reason === "evict" ? 1 : 0;
      },
    });
  }

  get count(): number {
    return this.#directories.size;
  }

  /** Of the encoded messages. */
  get sizeBytes(): number {
    return this.#directories.calculatedSize;
  }

  /** See InputSource. */
  get(digest: Digest): InputDirectory | Promise<InputDirectory> {
    // Under another instance name, the same content holds other digests.
    const key = `${digestKey(digest)}-${digest.instanceName}`;
    const cached = this.#directories.get(key);
    if (cached !== undefined) {
      this.#statistics.directoryHits++;
      return cached;
    }
    this.#statistics.directoryMisses++;
    let pending = this.#pending.get(key);
    if (pending === undefined) {
      pending = this.#load(digest, key).finally(() => this.#pending.delete(key));
      this.#pending.set(key, pending);
    }
    return pending;
  }

  async #load(digest: Digest, key: string): Promise<InputDirectory> {
    const message = await this.#reader.whole(digest, this.#maximumMessageSizeBytes, "directory");
    const directory = decodeDirectory(digest, message);
    this.#directories.set(key, directory, { size: Math.max(1, digest.sizeBytes) });
    // Not by the cache's own `max`, for which it would allocate at once.
    if (this.#directories.size > this.#maximumCount) {
      this.#directories.pop();
    }
    return directory;
  }
}
