import { FileSystemError, FileSystemStatus } from "../nfs/file-system.ts";

/** What the files that an action writes may take. Absent means unlimited. */
export interface QuotaLimits {
  /** As Buildbarn's `maximum_file_pool_file_count`. */
  readonly maximumFileCount?: number | undefined;
  /** As Buildbarn's `maximum_file_pool_size_bytes`. */
  readonly maximumSizeBytes?: number | undefined;
  /** Names of files, directories and everything else that the tree must keep. Default: 1,000,000. */
  readonly maximumNodes?: number | undefined;
}

/** What an action did to its files so far, as Buildbarn's FilePoolResourceUsage counts. */
export interface FilePoolUsage {
  filesCreated: number;
  filesCountPeak: number;
  /** Of files, symlinks and extended attributes. */
  filesSizeBytesPeak: number;
  readsCount: number;
  readsSizeBytes: number;
  writesCount: number;
  writesSizeBytes: number;
  truncatesCount: number;
}

/** A directory takes some 1.2 KiB of memory. */
const DEFAULT_MAXIMUM_NODES = 1_000_000;

/** An action wanted more than its quota. The action sees EDQUOT; this tells whoever runs it. */
export class QuotaExceededError extends Error {
  override readonly name = "QuotaExceededError";
}

/** Counts the files, bytes and nodes of one build directory. Refused requests throw FileSystemError DQUOT. */
export class Quota {
  /** Rises with what is taken; whoever reads and writes files counts these. */
  readonly usage: FilePoolUsage = {
    filesCreated: 0,
    filesCountPeak: 0,
    filesSizeBytesPeak: 0,
    readsCount: 0,
    readsSizeBytes: 0,
    writesCount: 0,
    writesSizeBytes: 0,
    truncatesCount: 0,
  };
  readonly #maximumFileCount: number;
  readonly #maximumSizeBytes: number;
  readonly #maximumNodes: number;
  readonly #onExceeded: (error: QuotaExceededError) => void;
  #fileCount = 0;
  #sizeBytes = 0;
  #nodes = 0;

  constructor(limits: QuotaLimits, onExceeded: (error: QuotaExceededError) => void) {
    this.#maximumFileCount = limits.maximumFileCount ?? Number.POSITIVE_INFINITY;
    this.#maximumSizeBytes = limits.maximumSizeBytes ?? Number.POSITIVE_INFINITY;
    this.#maximumNodes = limits.maximumNodes ?? DEFAULT_MAXIMUM_NODES;
    this.#onExceeded = onExceeded;
  }

  get fileCount(): number {
    return this.#fileCount;
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  get nodes(): number {
    return this.#nodes;
  }

  takeFile(): void {
    if (this.#fileCount >= this.#maximumFileCount) {
      this.#refuse(`the action may write at most ${this.#maximumFileCount} files`);
    }
    this.#fileCount++;
    this.usage.filesCreated++;
    this.usage.filesCountPeak = Math.max(this.usage.filesCountPeak, this.#fileCount);
  }

  releaseFile(): void {
    this.#fileCount--;
  }

  /** One for each name, so that hard links count as well. */
  takeNode(): void {
    if (this.#nodes >= this.#maximumNodes) {
      this.#refuse(`the action may have at most ${this.#maximumNodes} files, directories and links`);
    }
    this.#nodes++;
  }

  releaseNode(): void {
    this.#nodes--;
  }

  /** Takes `bytes`, or returns them if negative. */
  resize(bytes: number): void {
    if (bytes > 0 && this.#sizeBytes + bytes > this.#maximumSizeBytes) {
      this.#refuse(`the action may write at most ${this.#maximumSizeBytes} bytes`);
    }
    this.#sizeBytes += bytes;
    this.usage.filesSizeBytesPeak = Math.max(this.usage.filesSizeBytesPeak, this.#sizeBytes);
  }

  #refuse(message: string): never {
    this.#onExceeded(new QuotaExceededError(`file pool quota exceeded: ${message}`));
    throw new FileSystemError(FileSystemStatus.DQUOT);
  }
}
