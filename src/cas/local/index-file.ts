import { constants } from "node:fs";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { type EntryLocation, RECORD_WORDS } from "./key-location-map.ts";
import { ALIGNMENT_BYTES, BLOCK_HEADER_BYTES, entryBytes, IDENTITY_BYTES, type Identity } from "./layout.ts";

/** The file in the state directory. Buildbarn's is called "state". */
const FILE_NAME = "bb_worker-index";
const MAGIC = "bbwindex";
const HEADER_BYTES = 48;
const BLOCK_BYTES = 12;
const RECORD_BYTES = RECORD_WORDS * 4;
const KEY_WORDS = 4;

/** A block, as far as the index covers it. */
export interface IndexedBlock {
  readonly turn: number;
  readonly position: number;
  /** Entries that begin there or later are not in the index. */
  readonly writeOffset: number;
}

/** Where an entry is, and of its key the words that are kept. */
export interface IndexedEntry {
  readonly key: Uint32Array;
  readonly location: EntryLocation;
}

/** What an index says. */
export interface Index {
  readonly blocks: readonly IndexedBlock[];
  /** To be gone through once. */
  readonly entries: Iterable<IndexedEntry>;
}

/**
 * The index as bytes: magic, the store's identity, numbers of blocks and entries, CRC of the rest, CRC of the header;
 * then the blocks, then the entries as KeyLocationMap.records() has them.
 */
export function encodeIndex(
  identity: Identity,
  blocks: readonly IndexedBlock[],
  records: Uint32Array<ArrayBuffer>,
): Buffer {
  const table = Buffer.alloc(blocks.length * BLOCK_BYTES);
  for (const [index, { turn, position, writeOffset }] of blocks.entries()) {
    table.writeUInt32LE(turn, index * BLOCK_BYTES);
    table.writeUInt32LE(position, index * BLOCK_BYTES + 4);
    table.writeUInt32LE(writeOffset / ALIGNMENT_BYTES, index * BLOCK_BYTES + 8);
  }
  const body = Buffer.concat([table, Buffer.from(records.buffer, records.byteOffset, records.byteLength)]);
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, "latin1");
  identity.copy(header, 8);
  header.writeUInt32LE(blocks.length, 24);
  header.writeUInt32LE(records.length / RECORD_WORDS, 28);
  header.writeUInt32LE(crc32(body), 32);
  header.writeUInt32LE(crc32(header.subarray(0, 36)), 36);
  return Buffer.concat([header, body]);
}

/** undefined for anything that is not a whole index of the store with that identity and such blocks. */
export function decodeIndex(bytes: Buffer, identity: Identity, blockBytes: number): Index | undefined {
  if (
    bytes.length < HEADER_BYTES ||
    bytes.toString("latin1", 0, MAGIC.length) !== MAGIC ||
    crc32(bytes.subarray(0, 36)) !== bytes.readUInt32LE(36) ||
    !identity.equals(bytes.subarray(8, 8 + IDENTITY_BYTES))
  ) {
    return undefined;
  }
  const blockCount = bytes.readUInt32LE(24);
  const entryCount = bytes.readUInt32LE(28);
  const body = bytes.subarray(HEADER_BYTES);
  if (
    body.length !== blockCount * BLOCK_BYTES + entryCount * RECORD_BYTES ||
    crc32(body) !== bytes.readUInt32LE(32)
  ) {
    return undefined;
  }
  const blocks = new Map<number, IndexedBlock>();
  for (let at = 0; at < blockCount * BLOCK_BYTES; at += BLOCK_BYTES) {
    const turn = body.readUInt32LE(at);
    const position = body.readUInt32LE(at + 4);
    const writeOffset = body.readUInt32LE(at + 8) * ALIGNMENT_BYTES;
    if (writeOffset < BLOCK_HEADER_BYTES || writeOffset > blockBytes) {
      return undefined;
    }
    blocks.set(turn, { turn, position, writeOffset });
  }
  const records = body.subarray(blockCount * BLOCK_BYTES);
  for (let at = 0; at < records.length; at += RECORD_BYTES) {
    const { turn, offset, contentBytes } = locationAt(records, at);
    const start = offset * ALIGNMENT_BYTES;
    const block = blocks.get(turn);
    if (
      block === undefined ||
      start < BLOCK_HEADER_BYTES ||
      start + entryBytes(contentBytes) > block.writeOffset
    ) {
      return undefined;
    }
  }
  return { blocks: [...blocks.values()], entries: entriesOf(records) };
}

function* entriesOf(records: Buffer): Generator<IndexedEntry> {
  for (let at = 0; at < records.length; at += RECORD_BYTES) {
    const key = new Uint32Array(KEY_WORDS);
    for (let word = 0; word < KEY_WORDS; word++) {
      key[word] = records.readUInt32LE(at + word * 4);
    }
    yield { key, location: locationAt(records, at) };
  }
}

function locationAt(records: Buffer, at: number): EntryLocation {
  return {
    turn: records.readUInt32LE(at + 16),
    offset: records.readUInt32LE(at + 20),
    contentBytes: records.readUInt32LE(at + 24),
  };
}

/** The index as a file in the state directory, which is made if it does not exist. */
export class IndexFile {
  readonly path: string;

  constructor(stateDirectoryPath: string) {
    this.path = join(stateDirectoryPath, FILE_NAME);
  }

  /** undefined if there is none, or it is not whole, or another store's. Rejects with an Error if it is unreadable. */
  async read(identity: Identity, blockBytes: number): Promise<Index | undefined> {
    await mkdir(dirname(this.path), { recursive: true, mode: 0o700 });
    let bytes: Buffer;
    try {
      bytes = await readFile(this.path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") {
        return undefined;
      }
      throw error;
    }
    return decodeIndex(bytes, identity, blockBytes);
  }

  /** Replaces the file. Whatever happens meanwhile, the old one or the new one is there, and whole. */
  async write(bytes: Buffer): Promise<void> {
    const temporaryPath = `${this.path}.new`;
    const file = await open(temporaryPath, "w", 0o600);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporaryPath, this.path);
    const directory = await open(dirname(this.path), constants.O_DIRECTORY);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }

  async remove(): Promise<void> {
    await rm(this.path, { force: true });
    await rm(`${this.path}.new`, { force: true });
  }
}
