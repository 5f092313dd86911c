/** Bytes of a chunk: as much as one READ asks for, so that such a READ is answered by a view. */
const CHUNK = 1024 * 1024;
const SMALLEST = 4096;
/** Holes are kept track of in pages. */
const PAGE = 4096;
const PAGES = CHUNK / PAGE;
/** Shorter reads get a copy: a view would make the next write to the chunk copy all of it. */
const VIEW_FROM = 32 * 1024;

interface Chunk {
  /** Grows up to {@link CHUNK} bytes; what lies behind it reads as zeros. */
  bytes: Buffer;
  /** A reader or another file has it: to be copied before it is written to. */
  shared: boolean;
  /** 1 for each page that has been written to. */
  readonly pages: Uint8Array;
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
      const chunk = this.writable(index, start + length);
      chunk.bytes.set(data.subarray(done, done + length), start);
      chunk.pages.fill(1, Math.floor(start / PAGE), Math.ceil((start + length) / PAGE));
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
      else {
        const own = this.writable(index, end);
        own.bytes.fill(0, start, end);
        const whole = end === chunk.bytes.length ? Math.ceil(end / PAGE) : Math.floor(end / PAGE);
        own.pages.fill(0, Math.ceil(start / PAGE), whole);
      }
    }
  }

  /** The first offset from `offset` on that is data (or a hole); the end where there is none. */
  seek(offset: number, data: boolean): number {
    let at = offset;
    while (at < this.size) {
      const index = Math.floor(at / CHUNK);
      const chunk = this.chunks.get(index);
      const page = Math.floor((at - index * CHUNK) / PAGE);
      if (chunk === undefined) {
        if (!data) return at;
        at = (index + 1) * CHUNK;
      } else if ((chunk.pages[page] === 1) === data) {
        return at;
      } else {
        at = index * CHUNK + (page + 1) * PAGE;
      }
    }
    return this.size;
  }

  /** Takes over a range of another content (or of this one, elsewhere), by chunks where they match. */
  cloneRange(source: Content, sourceOffset: number, offset: number, length: number): void {
    let done = 0;
    while (done < length) {
      const from = sourceOffset + done;
      const to = offset + done;
      const left = length - done;
      const endsFile = to + left >= this.size;
      const aligned = from % CHUNK === 0 && to % CHUNK === 0 && (left >= CHUNK || endsFile);
      const step = Math.min(left, CHUNK - (from % CHUNK), CHUNK - (to % CHUNK));
      if (aligned) this.shareChunk(source, from / CHUNK, to / CHUNK, step);
      else this.write(to, Buffer.from(source.read(from, step)));
      done += step;
    }
    this.size = Math.max(this.size, offset + length);
  }

  private shareChunk(source: Content, from: number, to: number, length: number): void {
    const chunk = source.chunks.get(from);
    if (chunk === undefined) {
      this.chunks.delete(to);
      return;
    }
    chunk.shared = true;
    this.chunks.set(to, { bytes: chunk.bytes, shared: true, pages: chunk.pages.slice() });
    // What the source has behind the range must not show when this file grows.
    if (length < chunk.bytes.length) this.clear(to * CHUNK + length, to * CHUNK + chunk.bytes.length);
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

  /** The chunk, at least `length` bytes long and ours alone. */
  private writable(index: number, length: number): Chunk {
    const chunk = this.chunks.get(index);
    if (chunk !== undefined && !chunk.shared && chunk.bytes.length >= length) return chunk;
    let capacity = Math.max(SMALLEST, chunk?.bytes.length ?? 0);
    while (capacity < length) capacity *= 2;
    const bytes = Buffer.alloc(capacity);
    chunk?.bytes.copy(bytes);
    const own = { bytes, shared: false, pages: chunk?.pages ?? new Uint8Array(PAGES) };
    this.chunks.set(index, own);
    return own;
  }
}

const EMPTY = new Uint8Array(0);
