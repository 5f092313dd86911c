import { createCipheriv, hash, randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/**
 * How blobs lie in the file or device of a local store. Numbers are little-endian.
 *
 *     0                   superblock: MAGIC, version, identity, geometry, CRC
 *     4096                block 0: block header, entries one after the other
 *     4096 + blockBytes   block 1 …
 *
 * A block header has the block's turn: a number that grows with each block that is begun, wherever it lies. An entry
 * is a header of 64 bytes, the content, and zeros up to a multiple of 16. Its header has the turn of its block, so what
 * an earlier turn left behind is never taken for an entry of this one.
 */
export const SUPERBLOCK_BYTES = 4096;
export const BLOCK_HEADER_BYTES = 64;
export const ENTRY_HEADER_BYTES = 64;
/** Entries begin at multiples of it. */
export const ALIGNMENT_BYTES = 16;
export const CHECK_BYTES = 16;
export const IDENTITY_BYTES = 16;
const KEY_BYTES = 32;

/** What an entry is found by: a salted SHA-256, as eight numbers. */
export type EntryKey = Uint32Array;
const KEY_WORDS = KEY_BYTES / 4;

const MAGIC = "bb_worker blob store\n";
const VERSION = 2;
const BLOCK_MAGIC = 0x6b6c4262;
const ENTRY_MAGIC = 0x72744562;

const CHECK_OFFSET = ENTRY_HEADER_BYTES - CHECK_BYTES;
/** Up to this size, a content's check is the beginning of its SHA-256. */
export const HASHED_BYTES = 64 * 1024;
/** Nothing is encrypted, and no check leaves the machine: the same for all. */
const CHECK_NONCE = Buffer.alloc(12);

export interface Geometry {
  readonly blockBytes: number;
  readonly blockCount: number;
}

/** What tells one formatting of a store from another; also the salt of its keys, and the secret of its checks. */
export type Identity = Buffer;

export function newIdentity(): Identity {
  return randomBytes(IDENTITY_BYTES);
}

export function blockOffset({ blockBytes }: Geometry, position: number): number {
  return SUPERBLOCK_BYTES + position * blockBytes;
}

/** The blocks that fit into so many bytes. */
export function geometryOf(sizeBytes: number, blockCount: number): Geometry {
  const blockBytes =
    Math.floor((sizeBytes - SUPERBLOCK_BYTES) / blockCount / SUPERBLOCK_BYTES) * SUPERBLOCK_BYTES;
  return { blockBytes: Math.max(0, blockBytes), blockCount };
}

export function encodeSuperblock(identity: Identity, { blockBytes, blockCount }: Geometry): Buffer {
  const block = Buffer.alloc(SUPERBLOCK_BYTES);
  block.write(MAGIC, "latin1");
  block.writeUInt32LE(VERSION, 32);
  identity.copy(block, 36);
  block.writeUIntLE(blockBytes, 52, 6);
  block.writeUInt32LE(blockCount, 58);
  block.writeUInt32LE(crc32(block.subarray(0, 62)), 62);
  return block;
}

/** What a superblock says; undefined if it is not one, "another version" if it is that of another layout. */
export function decodeSuperblock(
  block: Buffer,
): { readonly identity: Identity; readonly geometry: Geometry } | "another version" | undefined {
  if (
    block.length < 66 ||
    block.toString("latin1", 0, MAGIC.length) !== MAGIC ||
    crc32(block.subarray(0, 62)) !== block.readUInt32LE(62)
  ) {
    return undefined;
  }
  if (block.readUInt32LE(32) !== VERSION) {
    return "another version";
  }
  return {
    identity: Buffer.from(block.subarray(36, 52)),
    geometry: { blockBytes: block.readUIntLE(52, 6), blockCount: block.readUInt32LE(58) },
  };
}

export function encodeBlockHeader(identity: Identity, turn: number): Buffer {
  const header = Buffer.alloc(BLOCK_HEADER_BYTES);
  header.writeUInt32LE(BLOCK_MAGIC, 0);
  header.writeUInt32LE(turn, 8);
  identity.copy(header, 12);
  header.writeUInt32LE(crc32(header.subarray(8)), 4);
  return header;
}

/** The block's turn; undefined if the block was never begun. */
export function decodeBlockHeader(identity: Identity, header: Buffer): number | undefined {
  return header.length === BLOCK_HEADER_BYTES &&
    header.readUInt32LE(0) === BLOCK_MAGIC &&
    header.readUInt32LE(4) === crc32(header.subarray(8)) &&
    identity.equals(header.subarray(12, 12 + IDENTITY_BYTES))
    ? header.readUInt32LE(8)
    : undefined;
}

/** What an entry of so much content takes in its block. */
export function entryBytes(contentBytes: number): number {
  return ENTRY_HEADER_BYTES + Math.ceil(contentBytes / ALIGNMENT_BYTES) * ALIGNMENT_BYTES;
}

/** An entry as it lies in its block; its header is filled in once it has a place. */
export type Frame = Buffer<ArrayBuffer>;

/** A frame for so much content, which the caller puts there: see {@link contentOf}. In a buffer of its own. */
export function newFrame(contentBytes: number): Frame {
  const [frame] = newFrames([contentBytes]);
  return frame!;
}

/** Frames for contents of these sizes, one after the other in one buffer: that is quickly made, and handed to a thread. */
export function newFrames(sizes: readonly number[]): Frame[] {
  const all = Buffer.allocUnsafeSlow(sizes.reduce((sum, size) => sum + entryBytes(size), 0));
  let start = 0;
  return sizes.map((size) => {
    const frame = all.subarray(start, start + entryBytes(size));
    start += frame.length;
    frame.fill(0, ENTRY_HEADER_BYTES + size);
    return frame;
  });
}

/** What came from a thread, where a Buffer is only a Uint8Array, as a frame. */
export function asFrame({ buffer, byteOffset, length }: Uint8Array<ArrayBuffer>): Frame {
  return Buffer.from(buffer, byteOffset, length);
}

export function contentOf(frame: Frame, contentBytes: number): Buffer<ArrayBuffer> {
  return frame.subarray(ENTRY_HEADER_BYTES, ENTRY_HEADER_BYTES + contentBytes);
}

/**
 * By it the content is checked whenever it comes from the disk: the beginning of its SHA-256, which is known already
 * where that is the digest, or for more than {@link HASHED_BYTES} a GMAC with the identity of the store, in a twentieth of
 * the time. Only whoever knows the identity could make another content with the same check.
 */
export function checkOf(content: Uint8Array, identity: Identity): Buffer {
  if (content.length <= HASHED_BYTES) {
    return hash("sha256", content, "buffer").subarray(0, CHECK_BYTES);
  }
  const cipher = createCipheriv("aes-128-gcm", identity, CHECK_NONCE);
  cipher.setAAD(content);
  cipher.final();
  return cipher.getAuthTag();
}

export function setCheck(frame: Frame, check: Uint8Array): void {
  frame.set(check, CHECK_OFFSET);
}

export function frameCheck(frame: Frame): Buffer {
  return frame.subarray(CHECK_OFFSET, ENTRY_HEADER_BYTES);
}

/** A frame with this content, for the store with the identity. */
export function frameOf(content: Uint8Array, identity: Identity): Frame {
  const frame = newFrame(content.length);
  frame.set(content, ENTRY_HEADER_BYTES);
  setCheck(frame, checkOf(content, identity));
  return frame;
}

export function setEntryHeader(frame: Frame, turn: number, key: EntryKey, contentBytes: number): void {
  frame.writeUInt32LE(ENTRY_MAGIC, 0);
  frame.writeUInt32LE(turn, 8);
  frame.writeUInt32LE(contentBytes, 12);
  for (let word = 0; word < KEY_WORDS; word++) {
    frame.writeUInt32LE(key[word]!, 16 + word * 4);
  }
  frame.writeUInt32LE(crc32(frame.subarray(8, ENTRY_HEADER_BYTES)), 4);
}

export interface EntryHeader {
  readonly key: EntryKey;
  readonly contentBytes: number;
}

/** undefined if no entry of this turn begins there. */
export function decodeEntryHeader(header: Buffer, turn: number): EntryHeader | undefined {
  if (
    header.length < ENTRY_HEADER_BYTES ||
    header.readUInt32LE(0) !== ENTRY_MAGIC ||
    header.readUInt32LE(8) !== turn ||
    header.readUInt32LE(4) !== crc32(header.subarray(8, ENTRY_HEADER_BYTES))
  ) {
    return undefined;
  }
  return { key: keyAt(header, 16), contentBytes: header.readUInt32LE(12) };
}

/** Whether the frame is the entry that it should be; not whether its content is right. */
export function isEntry(frame: Buffer, turn: number, key: EntryKey, contentBytes: number): boolean {
  const header = decodeEntryHeader(frame, turn);
  return header?.contentBytes === contentBytes && header.key.every((word, index) => word === key[index]);
}

/** The key of what the text names. Whoever does not know the identity cannot make keys that collide. */
export function entryKey(identity: Identity, text: string): EntryKey {
  return keyAt(hash("sha256", identity.toString("latin1") + text, "buffer"), 0);
}

/** The keys of the parts of what a key names. */
export function partKey(key: EntryKey, index: number): EntryKey {
  const part = key.slice();
  part[1] = part[1]! ^ (index + 1);
  return part;
}

function keyAt(bytes: Buffer, offset: number): EntryKey {
  const key = new Uint32Array(KEY_WORDS);
  for (let word = 0; word < KEY_WORDS; word++) {
    key[word] = bytes.readUInt32LE(offset + word * 4);
  }
  return key;
}

/** Where in its block an entry begins: in bytes, of an offset that is counted in {@link ALIGNMENT_BYTES}. */
export function offsetOf({ offset }: { readonly offset: number }): number {
  return offset * ALIGNMENT_BYTES;
}
