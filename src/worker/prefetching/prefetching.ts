import { setImmediate } from "node:timers/promises";
import type { Semaphore } from "../../async/semaphore.ts";
import type { AccessProfile, FileSystemAccessCacheClient } from "../../cas/file-system-access-cache.ts";
import type { InputDirectory, InputFile, InputSource } from "../../cas/input-source.ts";
import type { Action } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { batchesOf } from "../../reapi/batches.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { Log } from "../../telemetry/log.ts";
import { InputAccess } from "../../vfs/index.ts";
import { type InputRootUsage, inputRootUsage, profileOf, reducedActionDigest } from "./access-profile.ts";
import { BloomFilter, type BloomFilterSize, encodeBloomFilter } from "./bloom-filter.ts";
import { PathHash } from "./path-hash.ts";

export interface PrefetchingOptions {
  readonly cache: Pick<FileSystemAccessCacheClient, "get" | "update">;
  readonly source: InputSource;
  readonly filterSize: BloomFilterSize;
  /** One for the process: how many batches may be on their way. */
  readonly batches: Semaphore;
  readonly log: Log;
}

interface Subdirectory {
  readonly digest: Digest;
  readonly path: PathHash;
}

/**
 * Fetches what actions like this one have read before, while this one runs, and takes down what this one reads.
 */
export class Prefetching {
  /** For {@link BuildDirectory.attachInputRoot}. */
  readonly access = new InputAccess();
  readonly #options: PrefetchingOptions;
  readonly #digest: Digest;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #existing: Promise<AccessProfile>;
  readonly #fetched: Promise<void>;

  /**
   * `onFailed` is called, at most once, with an error that fails the action: that of the cache, or of a blob that
   * cannot be fetched.
   */
  constructor(
    options: PrefetchingOptions,
    action: Action,
    inputRoot: Digest,
    signal: AbortSignal,
    onFailed: (error: unknown) => void,
  ) {
    this.#options = options;
    this.#digest = reducedActionDigest(action, inputRoot);
    this.#signal = AbortSignal.any([signal, this.#stop.signal]);
    this.#existing = options.cache
      .get(this.#digest, this.#signal)
      .then((profile) => profile ?? encodeBloomFilter([], options.filterSize));
    this.#fetched = this.#existing
      .then((profile) => this.#prefetch(profile, inputRoot))
      .catch((error) => {
        if (!this.#signal.aborted) {
          onFailed(error);
        }
      });
  }

  /** What the action has read so far. */
  usage(): InputRootUsage {
    return inputRootUsage(this.access);
  }

  /** To be called once the command has ended: what is looked at from then on does not count. */
  profile(): AccessProfile {
    return profileOf(this.access, this.#options.filterSize);
  }

  /** After a success: fetches no more, and stores the new profile if it differs. Rejects if that fails. */
  async store(profile: AccessProfile, signal: AbortSignal): Promise<void> {
    const existing = await this.#existing;
    await this.end();
    if (!isEqual(existing, profile)) {
      await this.#options.cache.update(this.#digest, profile, signal);
    }
  }

  /** Fetches no more. */
  async end(): Promise<void> {
    this.#stop.abort();
    await this.#fetched;
  }

  async #prefetch(profile: AccessProfile, inputRoot: Digest): Promise<void> {
    let filter: BloomFilter;
    try {
      filter = new BloomFilter(profile);
    } catch (error) {
      // The action's own profile will take its place.
      this.#options.log.warn("ignores a file system access profile", { action: this.#digest.hash, error });
      return;
    }
    if (!filter.contains(PathHash.ROOT)) {
      return;
    }
    // Level by level, so that a level takes as many round trips as it has batches.
    const files: InputFile[] = [];
    let level: Subdirectory[] = [{ digest: inputRoot, path: PathHash.ROOT }];
    while (level.length > 0) {
      const next: Subdirectory[] = [];
      for (const batch of batchesOf(level)) {
        const directories = await this.#batch(batch, ({ digest }) => this.#options.source.directory(digest));
        for (const [index, directory] of directories.entries()) {
          takeMatches(filter, directory, batch[index]!.path, files, next);
        }
        // Checking many names takes a while.
        await setImmediate();
        this.#signal.throwIfAborted();
      }
      level = next;
    }
    await Promise.all(
      batchesOf(files).map((batch) =>
        this.#batch(batch, ({ digest }) => this.#options.source.read(digest, 0, 1)),
      ),
    );
  }

  #batch<T, R>(batch: readonly T[], fetch: (item: T) => R | Promise<R>): Promise<R[]> {
    return this.#options.batches.run(this.#signal, () => Promise.all(batch.map(async (item) => fetch(item))));
  }
}

/** Adds the files and directories below `path` that the filter has. */
function takeMatches(
  filter: BloomFilter,
  { files, directories }: InputDirectory,
  path: PathHash,
  matchingFiles: InputFile[],
  matchingDirectories: Subdirectory[],
): void {
  for (const file of files) {
    if (file.digest.sizeBytes > 0 && filter.contains(path.append(file.name))) {
      matchingFiles.push(file);
    }
  }
  for (const { name, digest } of directories) {
    const child = path.append(name);
    if (filter.contains(child)) {
      matchingDirectories.push({ digest, path: child });
    }
  }
}

function isEqual(one: AccessProfile, other: AccessProfile): boolean {
  return (
    one.bloomFilterHashFunctions === other.bloomFilterHashFunctions &&
    Buffer.compare(one.bloomFilter, other.bloomFilter) === 0
  );
}
