import { randomBytes } from "node:crypto";
import type { Digest, DigestFunction } from "../cas/digest.ts";

/**
 * File handles. There are two kinds, told apart by their first byte:
 *
 * - **Numbered**: a node that the tree keeps. `1, id (7 bytes), epoch (8 bytes)`; the epoch is random per tree,
 *   so that a handle of an earlier run is stale instead of meaning another node.
 * - **CAS file**: says all there is to know about the file, so that the tree keeps nothing of it and the same
 *   blob is the same inode under every path and in every action.
 *   `2, flags (1), blob space (3), size (7), hash`. The blob space is a number for the instance name and digest
 *   function.
 */
const NUMBERED = 1;
const CAS_FILE = 2;
const NUMBERED_LENGTH = 16;
const CAS_FILE_HASH_OFFSET = 12;
const EXECUTABLE = 1;
const MAXIMUM_BLOB_SPACES = 2 ** 24;
const SLAB_HANDLES = 512;

/** File ids of CAS files are in [2^52, 2^53), those of numbered nodes below. */
const CAS_FILE_ID_BASE = 2 ** 52;

interface BlobSpace {
  readonly instanceName: string;
  readonly function: DigestFunction;
}

export class HandleCodec {
  readonly #epoch = randomBytes(8);
  readonly #blobSpaces: BlobSpace[] = [];
  /** Handles are cut from larger buffers: a buffer of its own costs ten times a handle's length. */
  #slab = Buffer.alloc(0);

  numbered(id: number): Buffer {
    if (this.#slab.length === 0) {
      this.#slab = Buffer.allocUnsafeSlow(SLAB_HANDLES * NUMBERED_LENGTH);
    }
    const handle = this.#slab.subarray(0, NUMBERED_LENGTH);
    this.#slab = this.#slab.subarray(NUMBERED_LENGTH);
    handle[0] = NUMBERED;
    writeUint56(handle, 1, id);
    this.#epoch.copy(handle, 8);
    return handle;
  }

  /** The id of a numbered handle of this tree; undefined for anything else. */
  numberedId(handle: Buffer): number | undefined {
    if (handle.length !== NUMBERED_LENGTH || handle[0] !== NUMBERED) {
      return undefined;
    }
    if (handle.compare(this.#epoch, 0, 8, 8, NUMBERED_LENGTH) !== 0) {
      return undefined;
    }
    return readUint56(handle, 1);
  }

  casFileLength(digestFunction: DigestFunction): number {
    return CAS_FILE_HASH_OFFSET + digestFunction.hashBytes;
  }

  writeCasFile(target: Buffer, offset: number, digest: Digest, isExecutable: boolean): void {
    target[offset] = CAS_FILE;
    target[offset + 1] = isExecutable ? EXECUTABLE : 0;
    target.writeUIntBE(this.#blobSpaceNumber(digest), offset + 2, 3);
    writeUint56(target, offset + 5, digest.sizeBytes);
    target.write(digest.hash, offset + CAS_FILE_HASH_OFFSET, "hex");
  }

  /** Whether the bytes are a CAS file's handle that this tree can have made. */
  isCasFile(handle: Buffer): boolean {
    if (handle.length <= CAS_FILE_HASH_OFFSET || handle[0] !== CAS_FILE || handle[1]! > EXECUTABLE) {
      return false;
    }
    const space = this.#blobSpaces[handle.readUIntBE(2, 3)];
    return (
      space !== undefined &&
      handle.length === this.casFileLength(space.function) &&
      Number.isSafeInteger(readUint56(handle, 5))
    );
  }

  casFileDigest(handle: Buffer): Digest {
    const { instanceName, function: digestFunction } = this.#blobSpaces[handle.readUIntBE(2, 3)]!;
    return {
      instanceName,
      function: digestFunction,
      hash: handle.toString("hex", CAS_FILE_HASH_OFFSET),
      sizeBytes: casFileSize(handle),
    };
  }

  #blobSpaceNumber(digest: Digest): number {
    const spaces = this.#blobSpaces;
    for (let number = 0; number < spaces.length; number++) {
      const space = spaces[number]!;
      if (space.instanceName === digest.instanceName && space.function === digest.function) {
        return number;
      }
    }
    if (spaces.length === MAXIMUM_BLOB_SPACES) {
      throw new Error(`more than ${MAXIMUM_BLOB_SPACES} instance names; restart the worker`);
    }
    return spaces.push({ instanceName: digest.instanceName, function: digest.function }) - 1;
  }
}

export function casFileSize(handle: Buffer): number {
  return readUint56(handle, 5);
}

export function casFileIsExecutable(handle: Buffer): boolean {
  return (handle[1]! & EXECUTABLE) !== 0;
}

/** 51 bits of the hash and the executable bit, which makes another inode of the same content. */
export function casFileId(handle: Buffer): number {
  const high = handle.readUInt32BE(CAS_FILE_HASH_OFFSET);
  const low = handle.readUIntBE(CAS_FILE_HASH_OFFSET + 4, 3) >>> 5;
  return CAS_FILE_ID_BASE + (high * 2 ** 19 + low) * 2 + (casFileIsExecutable(handle) ? 1 : 0);
}

function writeUint56(target: Buffer, offset: number, value: number): void {
  target.writeUIntBE(Math.floor(value / 2 ** 32), offset, 3);
  target.writeUInt32BE(value % 2 ** 32, offset + 3);
}

function readUint56(source: Buffer, offset: number): number {
  return source.readUIntBE(offset, 3) * 2 ** 32 + source.readUInt32BE(offset + 3);
}
