import type { RegularFile } from "../../nfs/file-system.ts";

/**
 * The content of the file from start to end, in pieces of at most `chunkBytes` bytes, each read when it is asked for
 * and unchanged afterwards.
 */
export async function* contentChunks(
  file: RegularFile,
  chunkBytes = 1024 * 1024,
): AsyncGenerator<Uint8Array> {
  for (let offset = 0; ; ) {
    const chunk = await file.read(offset, chunkBytes);
    if (chunk.length === 0) {
      return;
    }
    yield chunk;
    offset += chunk.length;
  }
}
