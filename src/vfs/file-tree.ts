import type { InputDirectory, InputSource } from "../cas/input-source.ts";
import {
  type FileSystem,
  FileSystemError,
  type FileSystemStatistics,
  FileSystemStatus,
  type MaybePromise,
  type Name,
  type Node,
} from "../nfs/file-system.ts";
import type { Digest } from "../reapi/digest.ts";
import { BuildDirectory, type BuildDirectoryOptions } from "./build-directory.ts";
import { CasFile, type CasFileContext } from "./cas-file.ts";
import { type Clock, SystemClock } from "./clock.ts";
import type { ContentAccount, ContentPlaces } from "./content/content-places.ts";
import type { FilePool } from "./content/file-pool.ts";
import { MemoryBudget } from "./content/own-bytes.ts";
import { CasDirectory } from "./directories/cas-directory.ts";
import { TreeDirectory, type TreeLeaf } from "./directories/directory.ts";
import { RootDirectory } from "./directories/root-directory.ts";
import { toBlobError } from "./faults.ts";
import { HandleCodec } from "./handles.ts";
import type { NumberedNode, TreeContext } from "./node.ts";
import { TakenHandles } from "./taken-handles.ts";
import { WritableFile } from "./writable-file.ts";

/** How long lookups answer with a private copy after a change was refused. Linux looks up the name at once. */
const WANTED_PRIVATE_MILLISECONDS = 2000;

/** At least this many of the most recently used CAS files are remembered, and at most twice as many. */
const REMEMBERED_CAS_FILES = 4096;

/** Bytes that a file can hold in ext4 with blocks of 4 KiB, the usual home of the file pool. */
const MAXIMUM_FILE_SIZE = 2 ** 44 - 4096;

/** For all small files together; once used up, small files go to the pool as well. */
const SMALL_FILES_BYTES = 64 * 1024 * 1024;

/** The handle does not say who wanted to change the file: one of the actions that had got it by then. */
interface Wanted {
  /** In milliseconds of the monotonic clock. */
  readonly until: number;
  readonly actions: WeakSet<ContentAccount>;
}

/** A regular expression, whichever's. */
export interface NamePattern {
  test(name: string): boolean;
}

export interface FileTreeOptions {
  readonly source: InputSource;
  /** For content too large for memory. The tree's owner closes it, if it needs closing. */
  readonly pool: FilePool;
  /** Keep actions from writing to files of their input root, instead of giving private copies. Default: false. */
  readonly inputsReadOnly?: boolean;
  /**
   * List each directory of an input root in an order that chance decides, and that then holds: what depends on the order
   * shows. Default: false.
   */
  readonly shuffleDirectoryListings?: boolean;
  /**
   * What has a matching name is not listed, unless it is a directory, and does not keep its directory from being removed.
   * It can be looked up all the same. Default: nothing.
   */
  readonly hiddenFiles?: NamePattern;
  /** Files longer than this many bytes go to the pool. Default: 64 KiB. */
  readonly smallFileBytes?: number;
  readonly clock?: Clock;
}

export interface FileTreeCounts {
  buildDirectories: number;
  directories: number;
  /** Directories whose entries are in memory. */
  expandedDirectories: number;
  writableFiles: number;
  /** Symlinks, devices, FIFOs and sockets. */
  otherNodes: number;
  /** Bytes of small files. */
  memoryBytes: number;
}

/**
 * The file system of a worker: its root holds one {@link BuildDirectory} per running action. Clients may remember for
 * long which names there were: whoever makes a build directory has them look at the root again.
 */
export class FileTree implements FileSystem, TreeContext, CasFileContext {
  readonly clock: Clock;
  readonly source: InputSource;
  readonly places: ContentPlaces;
  readonly inputsReadOnly: boolean;
  readonly shuffleDirectoryListings: boolean;
  readonly root: RootDirectory;
  readonly #codec = new HandleCodec();
  readonly #nodes = new Map<number, NumberedNode>();
  readonly #hiddenFiles: NamePattern | undefined;
  readonly #builds = new Set<BuildDirectory>();
  readonly #casDirectories = new WeakMap<InputDirectory, CasDirectory>();
  readonly #taken = new TakenHandles(this.#codec);
  #recentCasFiles = new Map<string, CasFile>();
  #olderCasFiles = new Map<string, CasFile>();
  /** By their handles: CAS files that an action wanted to change. */
  readonly #wantedPrivate = new Map<string, Wanted>();
  #lastId = 0;
  #refusals = 0;

  constructor(options: FileTreeOptions) {
    this.clock = options.clock ?? new SystemClock();
    this.source = options.source;
    this.places = {
      source: options.source,
      pool: options.pool,
      memory: new MemoryBudget(SMALL_FILES_BYTES),
      smallFileBytes: options.smallFileBytes ?? 64 * 1024,
    };
    this.inputsReadOnly = options.inputsReadOnly ?? false;
    this.shuffleDirectoryListings = options.shuffleDirectoryListings ?? false;
    this.#hiddenFiles = options.hiddenFiles;
    this.root = new RootDirectory(this);
  }

  /** Throws an Error if there is a build directory of that name. */
  createBuildDirectory(name: Name, options: BuildDirectoryOptions = {}): BuildDirectory {
    if (this.root.has(name)) {
      throw new Error(`there is a build directory ${JSON.stringify(name)} already`);
    }
    const build = new BuildDirectory(
      this,
      this.root,
      name,
      options,
      (removed) => this.#builds.delete(removed),
      () => this.#refusals++,
    );
    this.#builds.add(build);
    return build;
  }

  isHidden(name: Name): boolean {
    return this.#hiddenFiles?.test(Buffer.from(name, "latin1").toString("utf8")) ?? false;
  }

  resolve(handle: Uint8Array): Node | undefined {
    const bytes = Buffer.isBuffer(handle)
      ? handle
      : Buffer.from(handle.buffer, handle.byteOffset, handle.byteLength);
    const id = this.#codec.numberedId(bytes);
    if (id !== undefined) {
      const node = this.#nodes.get(id);
      if (node?.handle.equals(bytes)) {
        return node as TreeDirectory | TreeLeaf;
      }
      this.#refusals++;
      return undefined;
    }
    const key = bytes.toString("latin1");
    if (this.#taken.has(key)) {
      return this.#taken.get(key);
    }
    const remembered = this.#remembered(key);
    if (remembered !== undefined) {
      return remembered;
    }
    if (!this.#codec.isCasFile(bytes)) {
      return undefined;
    }
    return this.#remember(key, new CasFile(this, Buffer.from(bytes)));
  }

  /**
   * How often something failed that may have been a write: an action's, which it has been told of as a {@link Fault}, or
   * one to a file that is gone. Where the kernel says that a write failed, and this has not risen, it knows more.
   */
  get refusals(): number {
    return this.#refusals;
  }

  statistics(): FileSystemStatistics {
    const { totalBytes, freeBytes } = this.places.pool.space();
    const files = Number.MAX_SAFE_INTEGER;
    return {
      totalSpace: totalBytes,
      freeSpace: freeBytes,
      availableSpace: freeBytes,
      totalFiles: files,
      freeFiles: files - this.#nodes.size,
      availableFiles: files - this.#nodes.size,
      maximumFileSize: MAXIMUM_FILE_SIZE,
    };
  }

  /** What the tree keeps, for diagnostics. Walks all nodes. */
  counts(): FileTreeCounts {
    const counts: FileTreeCounts = {
      buildDirectories: this.#builds.size,
      directories: 0,
      expandedDirectories: 0,
      writableFiles: 0,
      otherNodes: 0,
      memoryBytes: this.places.memory.usedBytes,
    };
    for (const node of this.#nodes.values()) {
      if (node instanceof TreeDirectory) {
        counts.directories++;
        if (node.isExpanded) {
          counts.expandedDirectories++;
        }
      } else if (node instanceof WritableFile) {
        counts.writableFiles++;
      } else if (node !== this.root) {
        counts.otherNodes++;
      }
    }
    return counts;
  }

  register(node: NumberedNode): number {
    const id = ++this.#lastId;
    this.#nodes.set(id, node);
    return id;
  }

  unregister(node: NumberedNode): void {
    this.#nodes.delete(node.id);
    this.#taken.end(node.handle);
  }

  numberedHandle(id: number): Buffer {
    return this.#codec.numbered(id);
  }

  casDirectory(directory: InputDirectory): CasDirectory {
    let compact = this.#casDirectories.get(directory);
    if (compact === undefined) {
      compact = new CasDirectory(directory, this.#codec);
      this.#casDirectories.set(directory, compact);
    }
    return compact;
  }

  casFile(handle: Buffer): CasFile {
    return new CasFile(this, this.#taken.current(handle));
  }

  digestOf(handle: Buffer): Digest {
    return this.#codec.casFileDigest(handle);
  }

  readBlob(file: CasFile, offset: number, count: number): MaybePromise<Uint8Array> {
    try {
      const result = this.source.read(file.digest, offset, count);
      if (!(result instanceof Promise)) {
        return result;
      }
      this.#noteWait(file, result);
      return result.catch((error) => this.#blobFailed(file, error));
    } catch (error) {
      this.#blobFailed(file, error);
    }
  }

  /** The handle does not say who reads: the wait counts for each action that has got it. */
  #noteWait(file: CasFile, settled: Promise<unknown>): void {
    for (const build of this.#builds) {
      if (build.knows(file)) {
        build.noteWait(settled, file.digest);
      }
    }
  }

  refuseChange(file: CasFile): never {
    if (this.inputsReadOnly) {
      throw new FileSystemError(FileSystemStatus.ACCESS);
    }
    const now = this.clock.monotonic();
    // Entries are in order of time: the first that still counts ends the loop.
    for (const [handle, { until }] of this.#wantedPrivate) {
      if (until > now) {
        break;
      }
      this.#wantedPrivate.delete(handle);
    }
    const key = file.handle.toString("latin1");
    this.#wantedPrivate.delete(key);
    this.#wantedPrivate.set(key, {
      until: now + WANTED_PRIVATE_MILLISECONDS,
      actions: new WeakSet([...this.#builds].filter((build) => build.knows(file))),
    });
    throw new FileSystemError(FileSystemStatus.STALE);
  }

  takeOver(file: CasFile): WritableFile | undefined {
    const [build, ...others] = [...this.#builds].filter((build) => build.knows(file));
    if (
      build === undefined ||
      others.length > 0 ||
      this.inputsReadOnly ||
      !this.#taken.mayTake(file.handle)
    ) {
      return undefined;
    }
    const own = build.directory.takeOver(file, this.#codec.firstGeneration(file.handle));
    if (own !== undefined) {
      this.#taken.take(file.handle, own);
    }
    return own;
  }

  isWantedPrivate(file: CasFile, action: ContentAccount): boolean {
    if (this.#wantedPrivate.size === 0) {
      return false;
    }
    const wanted = this.#wantedPrivate.get(file.handle.toString("latin1"));
    return wanted?.actions.has(action) === true && wanted.until > this.clock.monotonic();
  }

  /** A CAS file does not know who reads it: it may be any action that has looked into a directory with the file. */
  #blobFailed(file: CasFile, error: unknown): never {
    const fault = toBlobError(error, file.digest);
    for (const build of this.#builds) {
      build.reportIfLookedUp(fault, this.#codec.firstGeneration(file.handle));
    }
    throw new FileSystemError(FileSystemStatus.IO);
  }

  #remembered(key: string): CasFile | undefined {
    const recent = this.#recentCasFiles.get(key);
    if (recent !== undefined) {
      return recent;
    }
    const older = this.#olderCasFiles.get(key);
    return older === undefined ? undefined : this.#remember(key, older);
  }

  #remember(key: string, file: CasFile): CasFile {
    if (this.#recentCasFiles.size >= REMEMBERED_CAS_FILES) {
      this.#olderCasFiles = this.#recentCasFiles;
      this.#recentCasFiles = new Map();
    }
    this.#recentCasFiles.set(key, file);
    return file;
  }
}
