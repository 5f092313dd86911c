import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import type { Semaphore } from "../../async/semaphore.ts";
import { FileSystemError, FileSystemStatus, type Name } from "../../nfs/file-system.ts";

/** Directories that stay open though nobody works in them, for the next who does. */
const MAXIMUM_IDLE = 128;
/** A directory that is opened when it is needed. */
export interface LazyDirectory {
  /** Opens it. */
  readonly open: () => Promise<FileHandle>;
  opened?: OpenedDirectory | undefined;
  /** What it was when it was first opened. */
  identity?: { readonly device: number; readonly inode: number };
}

interface OpenedDirectory {
  readonly handle: Promise<FileHandle>;
  users: number;
}

/** What limits how much is open at a time. None may be entered within itself. */
export interface OpenLimits {
  /** Of a step in a directory, which has up to two directories open. */
  readonly steps: Semaphore;
  /** Of a file that is being uploaded. */
  readonly files: Semaphore;
}

/**
 * The directories of a disk that are being worked in, of which only some are open at a time. Files are named by their
 * directory's descriptor, below /proc/self/fd, so that no step depends on what has become of the path to it: whatever a
 * command puts in a directory's place, nothing outside of it is touched.
 */
export class OpenDirectories implements AsyncDisposable {
  readonly limits: OpenLimits;
  /** Those without users, the one that has been so for longest first. */
  readonly #idle = new Set<LazyDirectory>();

  constructor(limits: OpenLimits) {
    this.limits = limits;
  }

  /** Works in a directory, which stays open meanwhile. Throws STALE if another one has taken its place. */
  async use<T>(directory: LazyDirectory, work: (handle: FileHandle) => Promise<T>): Promise<T> {
    this.#idle.delete(directory);
    directory.opened ??= { handle: openTheSame(directory), users: 0 };
    const { opened } = directory;
    opened.users++;
    try {
      return await work(await opened.handle);
    } finally {
      if (--opened.users === 0) {
        await this.#release(directory, opened);
      }
    }
  }

  /** Closes those that nobody works in. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const directory of this.#idle) {
      await this.#close(directory);
    }
  }

  async #release(directory: LazyDirectory, opened: OpenedDirectory): Promise<void> {
    const isOpen = await opened.handle.then(
      () => true,
      () => false,
    );
    if (opened.users > 0 || directory.opened !== opened) {
      return;
    }
    if (!isOpen) {
      directory.opened = undefined;
      return;
    }
    this.#idle.add(directory);
    for (const longest of this.#idle) {
      if (this.#idle.size <= MAXIMUM_IDLE) {
        break;
      }
      await this.#close(longest);
    }
  }

  async #close(directory: LazyDirectory): Promise<void> {
    this.#idle.delete(directory);
    const { opened } = directory;
    directory.opened = undefined;
    await (await opened?.handle)?.close();
  }
}

async function openTheSame(directory: LazyDirectory): Promise<FileHandle> {
  const handle = await directory.open();
  try {
    const { dev: device, ino: inode } = await handle.stat();
    directory.identity ??= { device, inode };
    if (directory.identity.device !== device || directory.identity.inode !== inode) {
      throw new FileSystemError(FileSystemStatus.STALE, "a directory was replaced while it was read");
    }
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/** Opens a directory itself, not what a symlink leads to. */
export function openDirectory(path: Buffer | string): Promise<FileHandle> {
  const { O_RDONLY, O_DIRECTORY, O_NOFOLLOW } = constants;
  return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

/** A path that means `name` in an open directory. */
export function pathIn({ fd }: FileHandle, name: Name): Buffer {
  return Buffer.from(`/proc/self/fd/${fd}/${name}`, "latin1");
}
