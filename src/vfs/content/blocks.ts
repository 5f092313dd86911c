/** What even a single byte takes in the file pool. */
const BLOCK_BYTES = 4096;

/** Where the block with the byte at `offset` begins. */
export function blockStart(offset: number): number {
  return offset - (offset % BLOCK_BYTES);
}

/** `offset`, rounded up to the end of a block. */
export function blockEnd(offset: number): number {
  return blockStart(offset + BLOCK_BYTES - 1);
}
