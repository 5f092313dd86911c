/** Bytes of a chunk: as much as one READ asks for, so that such a READ is answered by a view. */
const CHUNK = 1024 * 1024;
const SMALLEST = 4096;
/** Shorter reads get a copy: a view would make the next write to the chunk copy all of it. */
const VIEW_FROM = 32 * 1024;

interface Chunk {
  /** Grows up to {@link CHUNK} bytes; what lies behind it reads as zeros. */
  bytes: Buffer;
  /** A reader or another file has it: to be copied before it is written to. */
  shared: boolean;
}

/** The bytes of a sparse file in memory. */
export class Content {
  size = 0;
  private readonly chunks = new Map<number, Chunk>();

  /** Bytes of memory in use. */
  get spaceUsed(): number {
    let used = 0;
    for (const { bytes } of this.chunks.values()) used += bytes.length;
    return used;
  }

  /** A view that nobody changes any more, or a copy. */
  read(offset: number, count: number): Uint8Array {
    const end = Math.min(offset + count, this.size);
    if (offset >= end) return EMPTY;
    const index = Math.floor(offset / CHUNK);
    const start = offset - index * CHUNK;
    const length = end - offset;
    const chunk = this.chunks.get(index);
    if (chunk !== undefined && start + length <= chunk.bytes.length) {
      const view = chunk.bytes.subarray(start, start + length);
      if (length < VIEW_FROM) return Buffer.from(view);
      chunk.shared = true;
      return view;
    }
    const data = Buffer.alloc(length);
    this.copyTo(data, offset);
    return data;
  }

  write(offset: number, data: Uint8Array): void {
    let done = 0;
    while (done < data.length) {
      const at = offset + done;
      const index = Math.floor(at / CHUNK);
      const start = at - index * CHUNK;
      const length = Math.min(data.length - done, CHUNK - start);
      this.writable(index, start + length).set(data.subarray(done, done + length), start);
      done += length;
    }
    this.size = Math.max(this.size, offset + data.length);
  }

  truncate(size: number): void {
    if (size < this.size) this.clear(size, this.size);
    this.size = size;
  }

  /** Makes the range read as zeros and gives its memory back where whole chunks are concerned. */
  clear(from: number, to: number): void {
    for (const [index, chunk] of this.chunks) {
      const base = index * CHUNK;
      const start = Math.max(from - base, 0);
      const end = Math.min(to - base, chunk.bytes.length);
      if (start >= end) continue;
      if (start === 0 && end === chunk.bytes.length) this.chunks.delete(index);
      else this.writable(index, end).fill(0, start, end);
    }
  }

  private copyTo(target: Buffer, offset: number): void {
    let done = 0;
    while (done < target.length) {
      const at = offset + done;
      const index = Math.floor(at / CHUNK);
      const start = at - index * CHUNK;
      const length = Math.min(target.length - done, CHUNK - start);
      this.chunks.get(index)?.bytes.copy(target, done, start, start + length);
      done += length;
    }
  }

  /** The chunk's bytes, at least `length` of them, ours alone. */
  private writable(index: number, length: number): Buffer {
    const chunk = this.chunks.get(index);
    if (chunk !== undefined && !chunk.shared && chunk.bytes.length >= length) return chunk.bytes;
    let capacity = Math.max(SMALLEST, chunk?.bytes.length ?? 0);
    while (capacity < length) capacity *= 2;
    const bytes = Buffer.alloc(capacity);
    chunk?.bytes.copy(bytes);
    this.chunks.set(index, { bytes, shared: false });
    return bytes;
  }
}

const EMPTY = new Uint8Array(0);
