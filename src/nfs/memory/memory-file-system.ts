import { randomBytes } from "node:crypto";
import {
  type FileSystem,
  FileSystemError,
  type FileSystemStatistics,
  FileSystemStatus,
  MAXIMUM_FILE_SIZE,
} from "../file-system.ts";
import { MemoryDirectory, type MemoryNode } from "./directory.ts";
import type { MemoryNodeBase, Owner } from "./node.ts";

const HANDLE_BYTES = 16;
const UNLIMITED_FILES = 0xffff_ffff;

/** Options of a {@link MemoryFileSystem}. */
export interface MemoryFileSystemOptions {
  /**
   * Bytes that it may hold: content, 1 KiB for each file, directory or other node, 512 for each further hard link, and
   * extended attributes. Default 4 GiB; RangeError unless it is 0 or more.
   */
  capacity?: number;
  /** Mode of the root directory. Default 0o755. */
  rootMode?: number;
}

/** A file system in memory: the example of a {@link FileSystem} and the test bed of the server. */
export class MemoryFileSystem implements FileSystem {
  readonly root: MemoryDirectory;
  readonly #capacity: number;
  #used = 0;
  readonly #nodes = new Map<number, MemoryNode>();
  #nextId = 2;
  /** Begins every handle: handles of another file system do not pass for ours. */
  readonly #mark = randomBytes(8);

  constructor(options: MemoryFileSystemOptions = {}) {
    const { capacity = 4 * 1024 ** 3 } = options;
    if (!(capacity >= 0)) {
      throw new RangeError(`capacity is ${capacity}; expected bytes, 0 or more`);
    }
    this.#capacity = Number.POSITIVE_INFINITY;
    const owner: Owner = {
      register: (node, overhead) => this.#register(node, overhead),
      forget: (node) => this.#forget(node),
      account: (bytes) => this.#account(bytes),
    };
    const credentials = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
    this.root = new MemoryDirectory(owner, undefined, credentials, { mode: options.rootMode ?? 0o755 });
    // The root itself costs nothing: it exists even if there is room for nothing else.
    this.#used = 0;
    this.#capacity = capacity;
  }

  resolve(handle: Uint8Array): MemoryNode | undefined {
    if (handle.length !== HANDLE_BYTES) {
      throw new FileSystemError(FileSystemStatus.BADHANDLE);
    }
    for (let index = 0; index < 8; index++) {
      if (handle[index] !== this.#mark[index]) {
        return undefined;
      }
    }
    let id = 0;
    for (let index = 8; index < HANDLE_BYTES; index++) {
      id = id * 256 + handle[index]!;
    }
    return this.#nodes.get(id);
  }

  statistics(): FileSystemStatistics {
    return {
      totalSpace: this.#capacity,
      freeSpace: this.#capacity - this.#used,
      availableSpace: this.#capacity - this.#used,
      totalFiles: UNLIMITED_FILES,
      freeFiles: UNLIMITED_FILES - this.#nodes.size,
      availableFiles: UNLIMITED_FILES - this.#nodes.size,
      maximumFileSize: MAXIMUM_FILE_SIZE,
    };
  }

  #register(node: MemoryNodeBase, overhead: number): { handle: Uint8Array; fileId: number } {
    this.#account(overhead);
    const fileId = this.#nextId++;
    const handle = Buffer.alloc(HANDLE_BYTES);
    this.#mark.copy(handle);
    handle.writeBigUInt64BE(BigInt(fileId), 8);
    // Every subclass is a member of the union.
    this.#nodes.set(fileId, node as MemoryNode);
    return { handle, fileId };
  }

  #forget(node: MemoryNodeBase): void {
    if (this.#nodes.delete(node.attributes().fileId)) {
      this.#account(-node.accounted);
    }
  }

  #account(bytes: number): void {
    if (bytes > 0 && this.#used + bytes > this.#capacity) {
      throw new FileSystemError(FileSystemStatus.NOSPC);
    }
    this.#used += bytes;
  }
}
