import { FileSystemError, FileSystemStatus, type Name } from "../nfs/file-system.ts";
import type { Digest } from "../reapi/digest.ts";
import type { CasFile } from "./cas-file.ts";
import type { CasDirectory } from "./directories/cas-directory.ts";
import { DIRECTORY_MODE, TreeDirectory, type TreeNode } from "./directories/directory.ts";
import type { DirectoryAccount } from "./directories/directory-account.ts";
import type { InputAccess } from "./directories/input-access.ts";
import { LookAhead } from "./directories/look-ahead.ts";
import type { RootDirectory } from "./directories/root-directory.ts";
import { type Fault, faultKey } from "./faults.ts";
import { casFileId, casFileSize } from "./handles.ts";
import type { TreeContext } from "./node.ts";
import { type Owner, ROOT } from "./owner.ts";
import { Quota, type QuotaLimits } from "./quota.ts";
import type { WritableFile } from "./writable-file.ts";

export interface BuildDirectoryOptions {
  /** Owner of the directories and symlinks; if absent, the owner of inputs. */
  readonly owner?: Owner;
  readonly quota?: QuotaLimits;
  /** Called once for each distinct fault that the action could have seen. */
  readonly onFault?: (fault: Fault) => void;
  /** Called when something of the action begins to wait for storage: until the promise settles, it is not at work. */
  readonly onWait?: OnWait;
}

/** Gets the blob that is waited for, where it is one. */
export type OnWait = (settled: Promise<unknown>, digest?: Digest) => void;

/** How much an action has seen of its input root: what directories have in them, and what was asked for. */
export interface InputUsage {
  readonly directoriesEntered: number;
  /** Files in these, and their bytes. */
  readonly filesEntered: number;
  readonly bytesEntered: number;
  /** Files that were listed or looked up by name, so that they could be read. */
  readonly filesFound: number;
  readonly bytesFound: number;
}

/** How many unreadable blobs are remembered that none of a build directory's known directories has. */
const REMEMBERED_UNKNOWN_FILES = 1024;

/** A path below the build directory; the empty one is the build directory itself. */
export type Path = readonly Name[];

/**
 * The directory of one action, for the worker's own use. Paths are walked without following symlinks: one on the way
 * is NOTDIR, so that nothing an action makes can lead out of its build directory.
 */
export class BuildDirectory implements DirectoryAccount {
  readonly name: Name;
  readonly owner: Owner;
  readonly quota: Quota;
  readonly lookAhead: LookAhead;
  readonly directory: TreeDirectory;
  openFiles = 0;
  readonly #root: RootDirectory;
  readonly #onFault: ((fault: Fault) => void) | undefined;
  readonly #onWait: OnWait | undefined;
  readonly #onRemove: (removed: BuildDirectory) => void;
  readonly #onRefusal: () => void;
  readonly #faultsSeen = new Set<string>();
  /** File ids of the CAS files that the action knows. */
  readonly #knownFiles = new Set<number>();
  /** The directories of the CAS that the action has looked into. */
  readonly #loadedDirectories = new Set<CasDirectory>();
  /** Faults of files that are in none of {@link #loadedDirectories}. */
  readonly #faultsOfOthers = new Set<string>();
  #knownBytes = 0;
  #removed = false;

  /** For {@link FileTree.createBuildDirectory}, which has checked that the name is free. */
  constructor(
    tree: TreeContext,
    root: RootDirectory,
    name: Name,
    options: BuildDirectoryOptions,
    onRemove: (removed: BuildDirectory) => void,
    onRefusal: () => void,
  ) {
    this.name = name;
    this.owner = options.owner ?? ROOT;
    this.quota = new Quota(options.quota ?? {}, (error) => this.report(error));
    this.lookAhead = new LookAhead(tree.source);
    this.#root = root;
    this.#onFault = options.onFault;
    this.#onWait = options.onWait;
    this.#onRemove = onRemove;
    this.#onRefusal = onRefusal;
    this.directory = new TreeDirectory(tree, this, root, undefined, DIRECTORY_MODE, this.owner);
    root.add(name, this.directory);
  }

  /**
   * Makes the input root appear at `path`, creating missing parents. Fetches nothing of it. `access` takes down what is
   * looked at of it.
   */
  async attachInputRoot(path: Path, digest: Digest, access?: InputAccess): Promise<TreeDirectory> {
    const { parent, name } = await this.#makeParents(path);
    return parent.attach(name, digest, access);
  }

  /** Like `mkdir -p`; fetches only the directories on the way. Throws NOTDIR. */
  async makeDirectories(path: Path): Promise<TreeDirectory> {
    let directory = this.directory;
    for (const name of path) {
      const child = (await directory.lookup(name)) ?? (await this.#makeDirectory(directory, name));
      if (!(child instanceof TreeDirectory)) {
        throw new FileSystemError(FileSystemStatus.NOTDIR);
      }
      directory = child;
    }
    return directory;
  }

  /** Throws EXIST, or DQUOT. */
  async createFile(path: Path, content?: Uint8Array, mode = 0o644): Promise<WritableFile> {
    const { parent, name } = await this.#makeParents(path);
    const file = await parent.createFile(name, this.#creator(), { mode });
    if (content !== undefined) {
      await file.write(0, content, false);
    }
    return file;
  }

  /** The node at `path`, not following a symlink there; undefined if there is none. */
  async lookupPath(path: Path): Promise<TreeNode | undefined> {
    let node: TreeNode = this.directory;
    for (const name of path) {
      if (!(node instanceof TreeDirectory)) {
        return undefined;
      }
      const child: TreeNode | undefined = await node.lookup(name);
      if (child === undefined) {
        return undefined;
      }
      node = child;
    }
    return node;
  }

  /**
   * Removes the directory at once and then everything in it. Handles become stale; files that clients hold open go
   * when they release them. Never rejects.
   */
  async remove(): Promise<void> {
    if (this.#removed) {
      return;
    }
    this.#removed = true;
    this.lookAhead.stop();
    this.#root.delete(this.name);
    this.#onRemove(this);
    await this.directory.discard();
  }

  report(fault: Fault): void {
    this.#onRefusal();
    const key = faultKey(fault);
    if (this.#removed || this.#faultsSeen.has(key)) {
      return;
    }
    this.#faultsSeen.add(key);
    this.#onFault?.(fault);
  }

  /**
   * Reports the fault if the CAS file is in a directory that the action has looked into. That searches all such
   * directories, but a program that repeats a failing read does not repeat the search.
   */
  reportIfLookedUp(fault: Fault, casFileHandle: Buffer): void {
    const key = faultKey(fault);
    if (this.#removed || this.#faultsSeen.has(key) || this.#faultsOfOthers.has(key)) {
      return;
    }
    for (const directory of this.#loadedDirectories) {
      if (directory.hasFile(casFileHandle)) {
        this.report(fault);
        return;
      }
    }
    if (this.#faultsOfOthers.size === REMEMBERED_UNKNOWN_FILES) {
      this.#faultsOfOthers.clear();
    }
    this.#faultsOfOthers.add(key);
  }

  tooLate(): FileSystemError {
    this.#onRefusal();
    return new FileSystemError(FileSystemStatus.STALE);
  }

  noteWait<T>(settled: Promise<T>, digest?: Digest): Promise<T> {
    this.#onWait?.(settled, digest);
    return settled;
  }

  noteKnown(file: CasFile): void {
    const known = this.#knownFiles.size;
    this.#knownFiles.add(casFileId(file.handle));
    if (this.#knownFiles.size > known) {
      this.#knownBytes += casFileSize(file.handle);
    }
  }

  /** Equal directories and files count once. */
  inputUsage(): InputUsage {
    let filesEntered = 0;
    let bytesEntered = 0;
    for (const { fileCount, fileBytes } of this.#loadedDirectories) {
      filesEntered += fileCount;
      bytesEntered += fileBytes;
    }
    return {
      directoriesEntered: this.#loadedDirectories.size,
      filesEntered,
      bytesEntered,
      filesFound: this.#knownFiles.size,
      bytesFound: this.#knownBytes,
    };
  }

  knows(file: CasFile): boolean {
    return this.#knownFiles.has(casFileId(file.handle));
  }

  noteLoaded(directory: CasDirectory): void {
    if (this.#loadedDirectories.has(directory)) {
      return;
    }
    this.#loadedDirectories.add(directory);
    this.#faultsOfOthers.clear();
  }

  async #makeParents(path: Path): Promise<{ parent: TreeDirectory; name: Name }> {
    const name = path.at(-1);
    if (name === undefined) {
      throw new FileSystemError(FileSystemStatus.EXIST);
    }
    return { parent: await this.makeDirectories(path.slice(0, -1)), name };
  }

  /** A directory that another call has made meanwhile will do. */
  async #makeDirectory(parent: TreeDirectory, name: Name): Promise<TreeNode | undefined> {
    try {
      return await parent.createDirectory(name, this.#creator(), this.#mode());
    } catch (error) {
      if (error instanceof FileSystemError && error.status === FileSystemStatus.EXIST) {
        return parent.lookup(name);
      }
      throw error;
    }
  }

  #creator() {
    return { ...this.owner, supplementaryGroupIds: [] };
  }

  #mode() {
    return { mode: DIRECTORY_MODE };
  }
}
