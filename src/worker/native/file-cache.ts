import { randomUUID } from "node:crypto";
import { closeSync, fchmodSync, futimesSync, openSync, renameSync, rmSync, writeSync } from "node:fs";
import { type FileHandle, link, open, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { Semaphore } from "../../async/semaphore.ts";
import { SingleFlight } from "../../async/single-flight.ts";
import { unlessAborted } from "../../async/wait.ts";
import type { InputFile } from "../../cas/input-source.ts";
import type { StorageClient } from "../../cas/storage-client.ts";
import { ConfigurationError } from "../../config/error.ts";
import { failure } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { batchesOf } from "../../reapi/batches.ts";
import { BlobError, blobName } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { INPUT_TIME } from "../../vfs/index.ts";
import { type EvictionOrder, evictionOrder, type ReplacementPolicy } from "./eviction-order.ts";

/** Where the content of input files comes from. */
export type InputContent = Pick<StorageClient, "read" | "hash">;

export interface FileCacheOptions {
  /** Absolute. Empty, and nobody else's. */
  readonly path: string;
  readonly maximumFileCount: number;
  readonly maximumSizeBytes: number;
  readonly policy: ReplacementPolicy;
  readonly content: InputContent;
  /** One for the process: how many downloads, of a large file or of many small ones, are under way. */
  readonly downloads: Semaphore;
}

interface CachedFile {
  readonly sizeBytes: number;
  pins: number;
}

/** What was done with the set of files that may be evicted: those that were there already are touched. */
export interface SetOperations {
  insert: number;
  touch: number;
  remove: number;
}

/** What somebody has pinned, by its key in the cache. */
export type PinnedFiles = Map<string, CachedFile>;

/** A file and how it is called in the cache. */
interface WantedFile {
  readonly digest: Digest;
  readonly isExecutable: boolean;
  readonly key: string;
}

/** Files up to this size are written at once: that takes a quarter of the time of doing it by libuv's threads. */
const SYNCHRONOUS_BYTES = 128 * 1024;
/** Larger files that are open for being written. */
const CONCURRENT_FILES = 64;

/** The name of a file in the cache: of each content there may be a file and a program. */
export function cacheKey({ digest, isExecutable }: Pick<InputFile, "digest" | "isExecutable">): string {
  return `${digestKey(digest)}${isExecutable ? "+x" : "-x"}`;
}

/**
 * Input files on a local disk, to be given to actions by hard links. What several actions want at the same time is
 * downloaded once. Files that an action is being given are pinned: they stay even if that is more than the limits
 * allow, as it takes no more room on the disk than the action's links do.
 */
export class FileCache {
  readonly #options: FileCacheOptions;
  readonly #operations: SetOperations = { insert: 0, touch: 0, remove: 0 };
  readonly #files = new Map<string, CachedFile>();
  readonly #order: EvictionOrder;
  readonly #downloading = new SingleFlight<void>();
  readonly #writing = new Semaphore(CONCURRENT_FILES);
  readonly #removals = new Set<Promise<void>>();
  /** Read once: to read it, Node sets it to 0 for a moment, for all threads. */
  readonly #umask = process.umask();
  #sizeBytes = 0;

  constructor(options: FileCacheOptions) {
    this.#options = options;
    this.#order = evictionOrder(options.policy);
  }

  get path(): string {
    return this.#options.path;
  }

  /** Files and bytes that it may hold. */
  get limits(): Pick<FileCacheOptions, "maximumFileCount" | "maximumSizeBytes"> {
    return this.#options;
  }

  get count(): number {
    return this.#files.size;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get operations(): Readonly<SetOperations> {
    return this.#operations;
  }

  has(key: string): boolean {
    return this.#files.has(key);
  }

  /**
   * Sees to it that the cache has the files until they are unpinned: each once, in `pinned`. Rejects with BlobError, with
   * StatusError UNAVAILABLE if the disk is full or fails, and with the signal's reason.
   */
  async pin(files: Iterable<InputFile>, pinned: PinnedFiles, signal: AbortSignal): Promise<void> {
    const missing = new Map<string, WantedFile>();
    for (const { digest, isExecutable } of files) {
      const key = cacheKey({ digest, isExecutable });
      if (pinned.has(key)) {
        continue;
      }
      if (this.#pin(key, pinned)) {
        this.#operations.touch++;
      } else {
        missing.set(key, { digest, isExecutable, key });
      }
    }
    await Promise.all(
      batchesOf(missing.values()).map((batch) =>
        this.#options.downloads.run(signal, async () => {
          await Promise.all(batch.map((file) => this.#pinMissing(file, pinned, signal)));
          await this.#evict();
        }),
      ),
    );
  }

  async unpin(pinned: PinnedFiles): Promise<void> {
    for (const file of pinned.values()) {
      file.pins--;
    }
    pinned.clear();
    await this.#evict();
  }

  /** Gives up a file that is not what it should be, whoever has pinned it. */
  async drop(key: string): Promise<void> {
    this.#forget(key);
    await this.#unlink(key);
  }

  #pin(key: string, pinned: PinnedFiles): boolean {
    const file = this.#files.get(key);
    if (file === undefined) {
      return false;
    }
    file.pins++;
    pinned.set(key, file);
    this.#order.touch(key);
    return true;
  }

  async #pinMissing(file: WantedFile, pinned: PinnedFiles, signal: AbortSignal): Promise<void> {
    let hasDownloaded = false;
    // It may go before the one who waited for it has its turn.
    while (!pinned.has(file.key) && !this.#pin(file.key, pinned)) {
      await this.#downloading.run(file.key, signal, (aborted) => {
        hasDownloaded = true;
        return this.#download(file, aborted);
      });
    }
    if (!hasDownloaded) {
      this.#operations.touch++;
    }
  }

  async #download(file: WantedFile, signal: AbortSignal): Promise<void> {
    const { digest, key } = file;
    // An eviction of the same file may still be under way.
    await Promise.all(this.#removals);
    const first = await unlessAborted(this.#read(digest, 0), signal);
    if (first.length === digest.sizeBytes && first.length <= SYNCHRONOUS_BYTES) {
      this.#writeNow(file, first);
    } else {
      await this.#writing.run(signal, () => this.#write(file, first, signal));
    }
    this.#files.set(key, { sizeBytes: digest.sizeBytes, pins: 0 });
    this.#sizeBytes += digest.sizeBytes;
    this.#order.add(key);
    this.#operations.insert++;
  }

  async #read(digest: Digest, offset: number): Promise<Uint8Array> {
    return this.#options.content.read(digest, offset, digest.sizeBytes - offset);
  }

  #writeNow({ isExecutable, key }: WantedFile, content: Uint8Array): void {
    const { path } = this.#options;
    const temporary = join(path, `new-${randomUUID()}`);
    try {
      const file = openSync(temporary, "wx", 0o600);
      try {
        for (let written = 0; written < content.length; ) {
          written += writeSync(file, content, written);
        }
        fchmodSync(file, this.#modeOf(isExecutable));
        futimesSync(file, INPUT_TIME.seconds, INPUT_TIME.seconds);
      } finally {
        closeSync(file);
      }
      renameSync(temporary, join(path, key));
    } catch (error) {
      rmSync(temporary, { force: true });
      throw diskFailure(error, path);
    }
  }

  async #write({ digest, isExecutable, key }: WantedFile, first: Uint8Array, signal: AbortSignal) {
    const { path } = this.#options;
    const temporary = join(path, `new-${randomUUID()}`);
    try {
      await using file = await open(temporary, "wx+", 0o600);
      await this.#writeContent(file, digest, first, signal);
      await file.chmod(this.#modeOf(isExecutable));
      await file.utimes(INPUT_TIME.seconds, INPUT_TIME.seconds);
      await rename(temporary, join(path, key));
    } catch (error) {
      await unlink(temporary).catch(() => {});
      throw diskFailure(error, path);
    }
  }

  /** Not left to open(2), as a directory's default ACL may add to what that gives. */
  #modeOf(isExecutable: boolean): number {
    return (isExecutable ? 0o555 : 0o444) & ~this.#umask;
  }

  async #writeContent(
    file: FileHandle,
    digest: Digest,
    first: Uint8Array,
    signal: AbortSignal,
  ): Promise<void> {
    let position = 0;
    for (let part = first; position < digest.sizeBytes; position += part.length) {
      if (position > 0) {
        part = await unlessAborted(this.#read(digest, position), signal);
      }
      await writeAll(file, part, position);
    }
    // What comes at once has been hashed before.
    if (first.length < digest.sizeBytes) {
      await this.#verify(file, digest, signal);
    }
  }

  async #verify(file: FileHandle, digest: Digest, signal: AbortSignal): Promise<void> {
    const source = {
      sizeBytes: digest.sizeBytes,
      read: (offset: number, count: number) => readPart(file, offset, count),
    };
    const found = await this.#options.content.hash(digest.instanceName, digest.function, source, signal);
    if (found.hash !== digest.hash) {
      throw new BlobError(
        Code.DATA_LOSS,
        `${blobName(digest)} is corrupt: its hash is ${found.hash}`,
        digest,
      );
    }
  }

  async #evict(): Promise<void> {
    const { maximumFileCount, maximumSizeBytes } = this.#options;
    const isOver = () => this.#files.size > maximumFileCount || this.#sizeBytes > maximumSizeBytes;
    if (isOver()) {
      for (const key of this.#order.candidates()) {
        if (this.#files.get(key)?.pins === 0) {
          this.#forget(key);
          const removal = this.#unlink(key).finally(() => this.#removals.delete(removal));
          this.#removals.add(removal);
        }
        if (!isOver()) {
          break;
        }
      }
    }
    await Promise.all(this.#removals);
  }

  #forget(key: string): void {
    const file = this.#files.get(key);
    if (file !== undefined) {
      this.#files.delete(key);
      this.#order.delete(key);
      this.#operations.remove++;
      this.#sizeBytes -= file.sizeBytes;
    }
  }

  async #unlink(key: string): Promise<void> {
    await unlink(join(this.path, key)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "ENOENT") {
        throw diskFailure(error, this.path);
      }
    });
  }
}

/** Rejects with ConfigurationError if files in one directory cannot be linked into the other. */
export async function checkLinkable(cachePath: string, buildPath: string): Promise<void> {
  const name = `link-${randomUUID()}`;
  const [from, to] = [join(cachePath, name), join(buildPath, name)];
  try {
    await using _ = await open(from, "wx");
    await link(from, to);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new ConfigurationError(
      code === "EXDEV"
        ? `${cachePath} and ${buildPath} must be directories of one mounted file system, since inputs are hard links`
        : `files in ${cachePath} cannot be linked into ${buildPath}: ${message}`,
    );
  } finally {
    await unlink(to).catch(() => {});
    await unlink(from).catch(() => {});
  }
}

/** Another worker may have room, or a disk that works. */
function diskFailure(error: unknown, path: string): unknown {
  const { code, syscall, message } = error as NodeJS.ErrnoException;
  if (syscall === undefined) {
    return error;
  }
  const reason = code === "ENOSPC" || code === "EDQUOT" ? "its disk is full" : message;
  return failure(Code.UNAVAILABLE, `cannot keep an input file in ${path}: ${reason}`, { cause: error });
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}

async function readPart(file: FileHandle, offset: number, count: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(count);
  const { bytesRead } = await file.read(buffer, 0, count, offset);
  return buffer.subarray(0, bytesRead);
}
