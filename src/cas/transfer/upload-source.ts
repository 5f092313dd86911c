/** A blob's bytes that can be read from any offset, and again: an upload that breaks must go back. */
export interface RandomAccess {
  /** At least one byte and at most `count`. The range is within the blob. */
  read(offset: number, count: number): Uint8Array | Promise<Uint8Array>;
}

/**
 * What to upload: bytes, or something to read them from. They must not change until the upload is done; should
 * they, the digest no longer fits and storage refuses the blob.
 */
export type UploadSource = Uint8Array | SizedSource;

export type SizedSource = RandomAccess & { readonly sizeBytes: number };

export function sizedSource(source: UploadSource): SizedSource {
  if (!(source instanceof Uint8Array)) {
    return source;
  }
  return { sizeBytes: source.length, read: (offset, count) => source.subarray(offset, offset + count) };
}

/** All of the source's bytes, in a buffer of their own. Rejects with an Error where it ends early. */
export async function readAll(source: SizedSource): Promise<Uint8Array> {
  const bytes = new Uint8Array(source.sizeBytes);
  let offset = 0;
  for await (const part of piecesOf(source, 0, source.sizeBytes, source.sizeBytes)) {
    bytes.set(part, offset);
    offset += part.length;
  }
  return bytes;
}

/**
 * The bytes from `offset` up to `end`, in pieces of at most `pieceBytes`; the next one is read while the caller is busy
 * with one. Throws an Error where the source ends early.
 */
export async function* piecesOf(
  source: RandomAccess,
  offset: number,
  end: number,
  pieceBytes: number,
): AsyncGenerator<Uint8Array> {
  const read = async (position: number) => source.read(position, Math.min(pieceBytes, end - position));
  let position = offset;
  let next = position < end ? read(position) : undefined;
  while (next !== undefined) {
    const piece = await next;
    if (piece.length === 0) {
      throw new Error(`the content ends at ${position} of ${end} bytes`);
    }
    position += piece.length;
    next = position < end ? read(position) : undefined;
    // The caller may leave before it is wanted.
    next?.catch(() => {});
    yield piece;
  }
}
