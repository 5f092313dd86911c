import { type BigIntStats, constants } from "node:fs";
import { type FileHandle, lstat, mkdir, open, opendir, readlink, rmdir, unlink } from "node:fs/promises";
import { eachAtMost } from "../../async/each-at-most.ts";
import type { SizedSource } from "../../cas/transfer/upload-source.ts";
import { failure, StatusError } from "../../grpc/status.ts";
import { callLibc } from "../../native/libc.ts";
import {
  type Attributes,
  type Cookie,
  type Credentials,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type Name,
  type SpecialKind,
} from "../../nfs/file-system.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type {
  ActionFile,
  ActionFolder,
  ActionNode,
  ActionSpecial,
  ActionSymlink,
} from "../action/action-files.ts";
import { type LazyDirectory, type OpenDirectories, openDirectory, pathIn } from "./open-directories.ts";

/** Longer paths cannot be given to a system call (PATH_MAX, less its NUL). */
const MAXIMUM_PATH_BYTES = 4095;
/** Names that an action's directories may have, as in the tree that is served by NFS: all are held in memory. */
const MAXIMUM_ENTRIES = 1_000_000;
const BILLION = 1_000_000_000n;
/** Entries of a directory that are looked at together. */
const CONCURRENT_ENTRIES = 16;
/** A file up to this size is read once, to be hashed and uploaded; a larger one for each. */
const SMALL_FILE_BYTES = 64 * 1024;

/** What the directories of one action have in common. */
export interface NativeContext {
  readonly open: OpenDirectories;
  /** How many names have been listed so far. */
  listed: number;
}

/** A directory of an action on a local disk. */
export class NativeDirectory implements ActionFolder {
  readonly type = FileType.DIRECTORY;
  readonly #context: NativeContext;
  readonly #directory: LazyDirectory;
  /** From the action's directory; for messages, and as a bound. */
  readonly #path: Name;

  constructor(context: NativeContext, path: Name, open: () => Promise<FileHandle>) {
    this.#context = context;
    this.#path = path;
    this.#directory = { open };
  }

  async attributes(): Promise<Pick<Attributes, "mode" | "modifyTime">> {
    return this.#step(async (handle) => modeAndTime(await handle.stat({ bigint: true })));
  }

  async lookup(name: Name): Promise<ActionNode | undefined> {
    return this.#step((handle) => this.#node(handle, name));
  }

  /** All entries at once; there is nothing to go on with. */
  async readDirectory(
    cookie: Cookie,
    visit: (name: Name, cookie: Cookie, node: ActionNode) => boolean,
  ): Promise<boolean> {
    const entries = await this.#step((handle) => this.#list(handle));
    return entries.every(([name, node], index) => index + 3 <= cookie || visit(name, index + 3, node));
  }

  async createDirectory(
    name: Name,
    _owner: Credentials,
    { mode }: { readonly mode: number },
  ): Promise<NativeDirectory> {
    await this.#step((handle) => mkdir(pathIn(handle, name), mode));
    return this.#below(name);
  }

  async createSpecial(
    name: Name,
    _owner: Credentials,
    special: SpecialKind,
    { mode }: { readonly mode: number },
  ): Promise<void> {
    if (special.type !== FileType.CHARACTER_DEVICE) {
      throw new FileSystemError(FileSystemStatus.NOTSUPP);
    }
    const { major, minor } = special;
    await this.#step(async (handle) => {
      const path = Buffer.concat([pathIn(handle, name), Buffer.alloc(1)]);
      const device = { unsignedLong: deviceNumber(major, minor) };
      callLibc("mknod", { memory: path }, { unsigned: constants.S_IFCHR | mode }, device);
    });
  }

  async remove(name: Name): Promise<void> {
    await this.#step(async (handle) => {
      const path = pathIn(handle, name);
      await ((await lstat(path)).isDirectory() ? rmdir(path) : unlink(path));
    });
  }

  async #step<T>(work: (handle: FileHandle) => Promise<T>): Promise<T> {
    const { open } = this.#context;
    try {
      return await open.limits.steps.run(undefined, () => open.use(this.#directory, work));
    } catch (error) {
      throw asFileSystemError(error, this.#path);
    }
  }

  async #list(handle: FileHandle): Promise<[Name, ActionNode][]> {
    const entries: [Name, ActionNode][] = [];
    const names: Name[] = [];
    for await (const { name } of await opendir(`/proc/self/fd/${handle.fd}`, { encoding: "latin1" })) {
      if (++this.#context.listed > MAXIMUM_ENTRIES) {
        throw failure(
          Code.INVALID_ARGUMENT,
          `the action's output directories have more than ${MAXIMUM_ENTRIES} files, directories and links`,
        );
      }
      names.push(name);
    }
    await eachAtMost(CONCURRENT_ENTRIES, names, async (name) => {
      const node = await this.#node(handle, name);
      if (node !== undefined) {
        entries.push([name, node]);
      }
    });
    return entries;
  }

  async #node(handle: FileHandle, name: Name): Promise<ActionNode | undefined> {
    try {
      const status = await lstat(pathIn(handle, name), { bigint: true });
      if (status.isDirectory()) {
        return this.#below(name);
      }
      if (status.isSymbolicLink()) {
        return new NativeSymlink(await readlink(pathIn(handle, name), { encoding: "buffer" }));
      }
      return status.isFile()
        ? new NativeFile(this.#context.open, this.#directory, name, this.#pathOf(name), status)
        : new NativeSpecial(specialType(status));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // The second: it was a symlink, and is not any more.
      if (code === "ENOENT" || code === "EINVAL") {
        return undefined;
      }
      throw error;
    }
  }

  #pathOf(name: Name): Name {
    return `${this.#path}/${name}`;
  }

  #below(name: Name): NativeDirectory {
    const path = this.#pathOf(name);
    if (path.length > MAXIMUM_PATH_BYTES) {
      throw failure(
        Code.INVALID_ARGUMENT,
        `the action's directories are too deep: they have a path of more than ${MAXIMUM_PATH_BYTES} bytes`,
      );
    }
    return new NativeDirectory(this.#context, path, () =>
      this.#context.open.use(this.#directory, (handle) => openDirectory(pathIn(handle, name))),
    );
  }
}

/** A regular file, as it was when it was looked up. */
export class NativeFile implements ActionFile {
  readonly type = FileType.REGULAR;
  readonly #open: OpenDirectories;
  readonly #directory: LazyDirectory;
  readonly #name: Name;
  readonly #path: Name;
  readonly #status: BigIntStats;

  constructor(open: OpenDirectories, directory: LazyDirectory, name: Name, path: Name, status: BigIntStats) {
    this.#open = open;
    this.#directory = directory;
    this.#name = name;
    this.#path = path;
    this.#status = status;
  }

  attributes(): Pick<Attributes, "mode" | "size" | "modifyTime"> {
    return { ...modeAndTime(this.#status), size: Number(this.#status.size) };
  }

  read(offset: number, count: number): Promise<Uint8Array> {
    return this.whileOpen(async (source) =>
      source instanceof Uint8Array
        ? source.subarray(offset, offset + count)
        : source.read(offset, Math.min(count, source.sizeBytes - offset)),
    );
  }

  /**
   * Gives `work` the content, as large as it is now. It stays open until `work` is done. Throws FileSystemError STALE if
   * another file, or something else, has taken its place, or if it is changed meanwhile.
   */
  async whileOpen<T>(work: (source: Uint8Array | SizedSource) => Promise<T>): Promise<T> {
    try {
      return await this.#open.limits.files.run(undefined, async () => {
        const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
        // A FIFO in its place would otherwise have this wait for a writer.
        const flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK;
        await using file = await this.#open.use(this.#directory, (handle) =>
          open(pathIn(handle, this.#name), flags),
        );
        const status = await file.stat({ bigint: true });
        const { dev, ino } = status;
        const size = Number(status.size);
        // Another one may have got the same number.
        if (!status.isFile() || dev !== this.#status.dev || ino !== this.#status.ino) {
          throw new FileSystemError(FileSystemStatus.STALE, "a file was replaced while it was read");
        }
        const [outcome] = await Promise.allSettled([
          size <= SMALL_FILE_BYTES
            ? readPart(file, 0, size).then(work)
            : work({ sizeBytes: size, read: (offset, count) => readPart(file, offset, count) }),
        ]);
        const now = await file.stat({ bigint: true });
        if (now.size !== status.size || now.mtimeNs !== status.mtimeNs) {
          throw new FileSystemError(FileSystemStatus.STALE, "a file was changed while it was read");
        }
        if (outcome.status === "rejected") {
          throw outcome.reason;
        }
        return outcome.value;
      });
    } catch (error) {
      throw asFileSystemError(error, this.#path);
    }
  }
}

export class NativeSymlink implements ActionSymlink {
  readonly type = FileType.SYMLINK;
  readonly target: Uint8Array;

  constructor(target: Uint8Array) {
    this.target = target;
  }
}

export class NativeSpecial implements ActionSpecial {
  readonly type: SpecialKind["type"];

  constructor(type: SpecialKind["type"]) {
    this.type = type;
  }
}

function modeAndTime({ mode, mtimeNs }: BigIntStats): Pick<Attributes, "mode" | "modifyTime"> {
  // Also of a time before 1970.
  const nanoseconds = Number(((mtimeNs % BILLION) + BILLION) % BILLION);
  const seconds = Number((mtimeNs - BigInt(nanoseconds)) / BILLION);
  return { mode: Number(mode) & 0o7777, modifyTime: { seconds, nanoseconds } };
}

async function readPart(file: FileHandle, offset: number, count: number): Promise<Uint8Array> {
  const buffer = Buffer.allocUnsafeSlow(count);
  let length = 0;
  while (length < count) {
    const { bytesRead } = await file.read(buffer, length, count - length, offset + length);
    if (bytesRead === 0) {
      break;
    }
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

function specialType(status: BigIntStats): SpecialKind["type"] {
  if (status.isFIFO()) {
    return FileType.FIFO;
  }
  if (status.isSocket()) {
    return FileType.SOCKET;
  }
  return status.isBlockDevice() ? FileType.BLOCK_DEVICE : FileType.CHARACTER_DEVICE;
}

/** Linux's dev_t, for numbers up to 2^12 and 2^20: 12 bits of major between 20 bits of minor. */
function deviceNumber(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

/** What a system call said, as the executor understands it. */
function asFileSystemError(error: unknown, path: Name): unknown {
  const { code, syscall } = error as NodeJS.ErrnoException;
  if (error instanceof StatusError || error instanceof FileSystemError || code === undefined) {
    return error;
  }
  const where = JSON.stringify(Buffer.from(path, "latin1").toString());
  if (code === "ENOSPC" || code === "EDQUOT") {
    return failure(Code.UNAVAILABLE, `the disk of the build directory is full at ${where}`, { cause: error });
  }
  if (syscall === undefined && !(error as Error).message.startsWith("mknod")) {
    return error;
  }
  return failure(Code.INTERNAL, `the build directory's file system says ${code} at ${where}`, {
    cause: error,
  });
}
