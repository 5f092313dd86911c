/** What a single byte takes in the file pool. */
const BLOCK_BYTES = 4096;

/** Where the block that holds the byte at `offset` begins. */
export function blockStart(offset: number): number {
  return offset - (offset % BLOCK_BYTES);
}

/** Where the last block of what ends before `offset` ends. */
export function blockEnd(offset: number): number {
  return blockStart(offset + BLOCK_BYTES - 1);
}
