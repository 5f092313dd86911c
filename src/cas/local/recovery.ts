import type { BlockDevice } from "./block-device.ts";
import type { Block } from "./block-ring.ts";
import type { Index } from "./index-file.ts";
import type { EntryLocation } from "./key-location-map.ts";
import {
  ALIGNMENT_BYTES,
  BLOCK_HEADER_BYTES,
  blockOffset,
  decodeBlockHeader,
  decodeEntryHeader,
  ENTRY_HEADER_BYTES,
  entryBytes,
  type Geometry,
  type Identity,
} from "./layout.ts";

/** Headers of small entries are read together. */
const WINDOW_BYTES = 256 * 1024;

/** The blocks that were ever begun, from the oldest to the newest, as empty ones. */
export function findBlocks(device: BlockDevice, geometry: Geometry, identity: Identity): Block[] {
  const header = Buffer.alloc(BLOCK_HEADER_BYTES);
  const blocks: Block[] = [];
  for (let position = 0; position < geometry.blockCount; position++) {
    device.readSync(header, blockOffset(geometry, position));
    const turn = decodeBlockHeader(identity, header);
    if (turn !== undefined && turn > 0) {
      blocks.push({
        position,
        turn,
        writeOffset: BLOCK_HEADER_BYTES,
        leases: 0,
        entries: 0,
        contentBytes: 0,
        oldSince: 0,
      });
    }
  }
  return blocks.sort((a, b) => a.turn - b.turn);
}

/**
 * Finds the entries of the blocks, and sets where each block goes on. What the index covers is taken from there; what
 * was written later is found by the headers in the blocks, one after the other, up to the first that is not whole. No
 * content is read: whoever reads an entry checks it.
 */
export function recoverEntries(
  device: BlockDevice,
  geometry: Geometry,
  blocks: readonly Block[],
  index: Index | undefined,
  take: (key: Uint32Array, location: EntryLocation) => void,
): void {
  const byTurn = new Map(blocks.map((block) => [block.turn, block]));
  for (const { turn, position, writeOffset } of index?.blocks ?? []) {
    const block = byTurn.get(turn);
    if (block?.position === position) {
      block.writeOffset = writeOffset;
    }
  }
  for (const { key, location } of index?.entries ?? []) {
    const block = byTurn.get(location.turn);
    if (block !== undefined && location.offset * ALIGNMENT_BYTES < block.writeOffset) {
      take(key, location);
    }
  }
  const window = Buffer.alloc(WINDOW_BYTES);
  for (const block of blocks) {
    recoverRest(device, geometry, block, window, take);
  }
}

/** The entries behind a block's write offset, which moves behind them. */
function recoverRest(
  device: BlockDevice,
  geometry: Geometry,
  block: Block,
  window: Buffer,
  take: (key: Uint32Array, location: EntryLocation) => void,
): void {
  const { blockBytes } = geometry;
  const start = blockOffset(geometry, block.position);
  // Nothing of the block is in the window yet.
  let windowStart = 0;
  let windowEnd = 0;
  while (block.writeOffset + ENTRY_HEADER_BYTES <= blockBytes) {
    if (block.writeOffset + ENTRY_HEADER_BYTES > windowEnd) {
      windowStart = block.writeOffset;
      windowEnd = Math.min(windowStart + window.length, blockBytes);
      device.readSync(window.subarray(0, windowEnd - windowStart), start + windowStart);
    }
    const at = block.writeOffset - windowStart;
    const header = decodeEntryHeader(window.subarray(at, at + ENTRY_HEADER_BYTES), block.turn);
    if (header === undefined || block.writeOffset + entryBytes(header.contentBytes) > blockBytes) {
      return;
    }
    const offset = block.writeOffset / ALIGNMENT_BYTES;
    take(header.key, { turn: block.turn, offset, contentBytes: header.contentBytes });
    block.writeOffset += entryBytes(header.contentBytes);
  }
}
