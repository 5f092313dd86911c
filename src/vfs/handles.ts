import { hash, randomBytes, randomFillSync, timingSafeEqual } from "node:crypto";
import type { Digest, DigestFunction } from "../reapi/digest.ts";

/**
 * File handles. They cannot be guessed: whoever has one was given it by this tree. There are two kinds, distinguished
 * by their first byte:
 *
 * - **Numbered**: a node that the tree keeps. `1, id (7 bytes), random (8 bytes)`; the node knows its handle. A handle
 *   from an earlier run is stale, rather than meaning another node.
 * - **CAS file**: says everything about the file, so that the tree need not keep it, and the same blob is the same
 *   inode under every path and in every action.
 *   `2, flags (1), blob space (3), size (7), hash, authenticator (8)`. The blob space is a number for the instance
 *   name and digest function. The flags are the executable bit and, above it, the generation: 0, unless an action has
 *   taken the handle of an earlier one ({@link TakenHandles}). The authenticator is a keyed hash of all before it, under a key of this tree.
 */
const NUMBERED = 1;
const CAS_FILE = 2;
const NUMBERED_LENGTH = 16;
const CAS_FILE_HASH_OFFSET = 12;
const AUTHENTICATOR_LENGTH = 8;
const KEY_LENGTH = 32;
/** RFC 8881 §3.1: NFS4_FHSIZE. */
const MAXIMUM_HANDLE_LENGTH = 128;
const EXECUTABLE = 1;
/** The generation is the seven bits above the executable one. */
const GENERATION = 2;
const MAXIMUM_GENERATION = 127;
const MAXIMUM_BLOB_SPACES = 2 ** 24;
const SLAB_HANDLES = 512;

/** File ids of CAS files are in [2^52, 2^53), those of numbered nodes below. */
const CAS_FILE_ID_BASE = 2 ** 52;

interface BlobSpace {
  readonly instanceName: string;
  readonly function: DigestFunction;
}

export class HandleCodec {
  /** The key, followed by room for a handle to be hashed with it. */
  readonly #keyed = Buffer.concat([randomBytes(KEY_LENGTH)], KEY_LENGTH + MAXIMUM_HANDLE_LENGTH);
  readonly #blobSpaces: BlobSpace[] = [];
  readonly #blobSpaceNumbers = new Map<DigestFunction, Map<string, number>>();
  /** Handles are cut from larger buffers: one of its own would cost ten times a handle's length. */
  #slab = Buffer.alloc(0);

  numbered(id: number): Buffer {
    if (this.#slab.length === 0) {
      this.#slab = randomFillSync(Buffer.allocUnsafeSlow(SLAB_HANDLES * NUMBERED_LENGTH));
    }
    const handle = this.#slab.subarray(0, NUMBERED_LENGTH);
    this.#slab = this.#slab.subarray(NUMBERED_LENGTH);
    handle[0] = NUMBERED;
    writeUint56(handle, 1, id);
    return handle;
  }

  /** The id in a numbered handle, which must still be compared with the node's own; undefined for anything else. */
  numberedId(handle: Buffer): number | undefined {
    if (handle.length !== NUMBERED_LENGTH || handle[0] !== NUMBERED) {
      return undefined;
    }
    return readUint56(handle, 1);
  }

  casFileLength(digestFunction: DigestFunction): number {
    return CAS_FILE_HASH_OFFSET + digestFunction.hashBytes + AUTHENTICATOR_LENGTH;
  }

  writeCasFile(target: Buffer, offset: number, digest: Digest, isExecutable: boolean): void {
    target[offset] = CAS_FILE;
    target[offset + 1] = isExecutable ? EXECUTABLE : 0;
    target.writeUIntBE(this.#blobSpaceNumber(digest), offset + 2, 3);
    writeUint56(target, offset + 5, digest.sizeBytes);
    target.write(digest.hash, offset + CAS_FILE_HASH_OFFSET, "hex");
    const end = offset + this.casFileLength(digest.function);
    this.#authenticator(target, offset, end - AUTHENTICATOR_LENGTH).copy(target, end - AUTHENTICATOR_LENGTH);
  }

  /** Whether the bytes are a CAS file's handle that this tree has made. */
  isCasFile(handle: Buffer): boolean {
    if (handle.length <= CAS_FILE_HASH_OFFSET + AUTHENTICATOR_LENGTH || handle[0] !== CAS_FILE) {
      return false;
    }
    const space = this.#blobSpaces[handle.readUIntBE(2, 3)];
    return (
      space !== undefined &&
      handle.length === this.casFileLength(space.function) &&
      timingSafeEqual(
        this.#authenticator(handle, 0, handle.length - AUTHENTICATOR_LENGTH),
        handle.subarray(-AUTHENTICATOR_LENGTH),
      )
    );
  }

  /** Another handle of the same file; undefined after 127. */
  nextGeneration(handle: Buffer): Buffer | undefined {
    const generation = generationOf(handle) + 1;
    return generation > MAXIMUM_GENERATION ? undefined : this.#withGeneration(handle, generation);
  }

  /** The handle as a CAS directory has it. */
  firstGeneration(handle: Buffer): Buffer {
    return generationOf(handle) === 0 ? handle : this.#withGeneration(handle, 0);
  }

  casFileDigest(handle: Buffer): Digest {
    const { instanceName, function: digestFunction } = this.#blobSpaces[handle.readUIntBE(2, 3)]!;
    return {
      instanceName,
      function: digestFunction,
      hash: handle.toString("hex", CAS_FILE_HASH_OFFSET, handle.length - AUTHENTICATOR_LENGTH),
      sizeBytes: casFileSize(handle),
    };
  }

  #blobSpaceNumber(digest: Digest): number {
    const { instanceName, function: digestFunction } = digest;
    const known = this.#blobSpaceNumbers.get(digestFunction)?.get(instanceName);
    if (known !== undefined) {
      return known;
    }
    const spaces = this.#blobSpaces;
    if (spaces.length === MAXIMUM_BLOB_SPACES) {
      throw new Error(`more than ${MAXIMUM_BLOB_SPACES} instance names; restart the worker`);
    }
    const number = spaces.push({ instanceName, function: digestFunction }) - 1;
    let numbers = this.#blobSpaceNumbers.get(digestFunction);
    if (numbers === undefined) {
      numbers = new Map();
      this.#blobSpaceNumbers.set(digestFunction, numbers);
    }
    numbers.set(instanceName, number);
    return number;
  }

  #withGeneration(handle: Buffer, generation: number): Buffer {
    const other = Buffer.from(handle);
    other[1] = (handle[1]! & EXECUTABLE) | (generation * GENERATION);
    const end = handle.length - AUTHENTICATOR_LENGTH;
    this.#authenticator(other, 0, end).copy(other, end);
    return other;
  }

  /** Of the bytes from `start` to `end`. All handles of one digest function have the same length. */
  #authenticator(source: Buffer, start: number, end: number): Buffer {
    const length = source.copy(this.#keyed, KEY_LENGTH, start, end);
    return hash("sha256", this.#keyed.subarray(0, KEY_LENGTH + length), "buffer").subarray(
      0,
      AUTHENTICATOR_LENGTH,
    );
  }
}

export function casFileSize(handle: Buffer): number {
  return readUint56(handle, 5);
}

export function casFileIsExecutable(handle: Buffer): boolean {
  return (handle[1]! & EXECUTABLE) !== 0;
}

function generationOf(handle: Buffer): number {
  return handle[1]! >>> 1;
}

/**
 * 51 bits of the hash, and the executable bit: the same content is another inode if it is executable, and in another
 * generation.
 */
export function casFileId(handle: Buffer): number {
  const high = handle.readUInt32BE(CAS_FILE_HASH_OFFSET);
  const low = (handle.readUIntBE(CAS_FILE_HASH_OFFSET + 4, 3) >>> 5) ^ (generationOf(handle) << 12);
  return CAS_FILE_ID_BASE + (high * 2 ** 19 + low) * 2 + (casFileIsExecutable(handle) ? 1 : 0);
}

function writeUint56(target: Buffer, offset: number, value: number): void {
  target.writeUIntBE(Math.floor(value / 2 ** 32), offset, 3);
  target.writeUInt32BE(value % 2 ** 32, offset + 3);
}

function readUint56(source: Buffer, offset: number): number {
  return source.readUIntBE(offset, 3) * 2 ** 32 + source.readUInt32BE(offset + 3);
}
