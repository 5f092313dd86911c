/** Bytes of a chunk: as much as one READ asks for, so that a view answers it. */
const CHUNK = 2 ** 20;
const SMALLEST = 4096;
/** The least that later chunks take, so that a capacity holds few enough chunks to clone or drop all at once. */
const SMALLEST_BEHIND = 64 * 1024;
/** Holes are kept track of in pages. */
const PAGE = 4096;
const PAGES = CHUNK / PAGE;
/** Shorter reads get a copy: a view would make the next write to the chunk copy all of it. */
const VIEW_FROM = 32 * 1024;

interface Chunk {
  /** Grows up to {@link CHUNK} bytes; beyond it, and beyond the end of the file, all is zeros. */
  bytes: Buffer;
  /** A reader or another file uses it: it must be copied before it is written to. */
  shared: boolean;
  /** 1 for each page that has been written to. */
  readonly pages: Uint8Array;
}

/** The bytes of a sparse file in memory. Its cost in time and memory depends on what was written, not on its length. */
export class Content {
  size: number = 0;
  /** Bytes of memory in use. */
  spaceUsed = 0;
  readonly #chunks = new Map<number, Chunk>();
  /** The chunks' numbers in order; undefined after a change. */
  #ordered: number[] | undefined;
  readonly #account: (bytes: number) => void;

  /** `account` is called before memory is taken, and may throw; and with a negative number when it is freed. */
  constructor(account: (bytes: number) => void) {
    this.#account = account;
  }

  /** A view that never changes, or a copy. */
  read(offset: number, count: number): Uint8Array {
    if (offset >= this.size) {
      return EMPTY;
    }
    const length = Math.min(this.size - offset, count);
    const index = chunkOf(offset);
    const start = withinChunk(offset);
    const chunk = this.#chunks.get(index);
    if (chunk !== undefined && start + length <= chunk.bytes.length) {
      const view = chunk.bytes.subarray(start, start + length);
      if (length < VIEW_FROM) {
        return Buffer.from(view);
      }
      chunk.shared = true;
      return view;
    }
    const data = Buffer.alloc(length);
    this.#copyTo(data, index, start);
    return data;
  }

  /** If it throws because memory is short, the part before has been written. */
  write(offset: number, data: Uint8Array): void {
    let index = chunkOf(offset);
    let start = withinChunk(offset);
    let done = 0;
    try {
      while (done < data.length) {
        const length = Math.min(data.length - done, CHUNK - start);
        const chunk = this.#writable(index, start + length);
        chunk.bytes.set(data.subarray(done, done + length), start);
        chunk.pages.fill(1, Math.floor(start / PAGE), Math.ceil((start + length) / PAGE));
        done += length;
        index++;
        start = 0;
      }
    } finally {
      if (done > 0) {
        this.size = Math.max(this.size, offset + done);
      }
    }
  }

  truncate(size: number): void {
    if (size < this.size) {
      this.clear(size, this.size);
    }
    this.size = size;
  }

  /** Makes the range read as zeros, and frees the chunks that lie wholly in it. */
  clear(from: number, to: number): void {
    if (from >= to) {
      return;
    }
    const first = chunkOf(from);
    const last = chunkOf(to);
    for (const index of this.#numbers(first, last)) {
      const { bytes } = this.#chunks.get(index)!;
      const start = index === first ? withinChunk(from) : 0;
      const end = Math.min(index === last ? withinChunk(to) : CHUNK, bytes.length);
      if (start >= end) {
        continue;
      }
      if (start === 0 && end === bytes.length) {
        this.#remove(index);
        continue;
      }
      const own = this.#writable(index, end);
      own.bytes.fill(0, start, end);
      const whole = end === bytes.length ? Math.ceil(end / PAGE) : Math.floor(end / PAGE);
      own.pages.fill(0, Math.ceil(start / PAGE), whole);
    }
  }

  /** The first offset from `offset` on that is data (or a hole); the end of the file if there is none. */
  seek(offset: number, data: boolean): number {
    let index = chunkOf(offset);
    let page = Math.floor(withinChunk(offset) / PAGE);
    while (offsetAt(index, page * PAGE) < this.size) {
      const chunk = this.#chunks.get(index);
      if (chunk !== undefined) {
        const found = chunk.pages.indexOf(data ? 1 : 0, page);
        if (found >= 0) {
          return Math.min(Math.max(offset, offsetAt(index, found * PAGE)), this.size);
        }
        index++;
      } else {
        if (!data) {
          return Math.max(offset, offsetAt(index, page * PAGE));
        }
        const ordered = this.#inOrder();
        const next = ordered[lowerBound(ordered, index)];
        if (next === undefined) {
          return this.size;
        }
        index = next;
      }
      page = 0;
    }
    return this.size;
  }

  /** Takes over a range of another content (or another range of this one), sharing whole chunks where they align. */
  cloneRange(source: Content, sourceOffset: number, offset: number, length: number): void {
    const end = offset + length;
    const sourceEnd = sourceOffset + length;
    this.clear(offset, end);
    const first = chunkOf(sourceOffset);
    const last = chunkOf(sourceEnd);
    for (const index of source.#numbers(first, last)) {
      const from = index === first ? withinChunk(sourceOffset) : 0;
      const to = index === last ? withinChunk(sourceEnd) : CHUNK;
      const chunk = source.#chunks.get(index)!;
      // The difference first: the sum of the two can be beyond what is exact.
      const at = offset + (offsetAt(index, from) - sourceOffset);
      // Beyond the end of the file a chunk has nothing that could show.
      const whole = from === 0 && (to >= chunk.bytes.length || sourceEnd >= source.size);
      if (whole && withinChunk(at) === 0 && !this.#chunks.has(chunkOf(at))) {
        this.#share(chunk, chunkOf(at));
      } else {
        this.#copyPages(chunk, from, Math.min(to, chunk.bytes.length), at);
      }
    }
    this.size = Math.max(this.size, end);
  }

  #share(chunk: Chunk, index: number): void {
    this.#take(chunk.bytes.length);
    chunk.shared = true;
    this.#add(index, { bytes: chunk.bytes, shared: true, pages: chunk.pages.slice() });
  }

  /** Writes the chunk's data from `from` to `to`; holes stay holes. */
  #copyPages(chunk: Chunk, from: number, to: number, offset: number): void {
    let start = from;
    while (start < to) {
      const data = chunk.pages.indexOf(1, Math.floor(start / PAGE));
      if (data < 0) {
        return;
      }
      const hole = chunk.pages.indexOf(0, data);
      const first = Math.max(start, data * PAGE);
      const end = Math.min(to, hole < 0 ? CHUNK : hole * PAGE);
      if (first < end) {
        this.write(offset + (first - from), chunk.bytes.subarray(first, end));
      }
      start = Math.max(end, first + 1);
    }
  }

  #copyTo(target: Buffer, firstIndex: number, firstStart: number): void {
    let index = firstIndex;
    let start = firstStart;
    for (let done = 0; done < target.length; index++, start = 0) {
      const length = Math.min(target.length - done, CHUNK - start);
      const bytes = this.#chunks.get(index)?.bytes;
      if (bytes !== undefined && start < bytes.length) {
        bytes.copy(target, done, start, start + length);
      }
      done += length;
    }
  }

  /** The numbers of the chunks from `first` to `last`, in order. */
  #numbers(first: number, last: number): number[] {
    const ordered = this.#inOrder();
    return ordered.slice(lowerBound(ordered, first), lowerBound(ordered, last + 1));
  }

  #inOrder(): number[] {
    this.#ordered ??= [...this.#chunks.keys()].sort((one, other) => one - other);
    return this.#ordered;
  }

  /** The chunk, at least `length` bytes long and ours alone. */
  #writable(index: number, length: number): Chunk {
    const chunk = this.#chunks.get(index);
    if (chunk !== undefined && !chunk.shared && chunk.bytes.length >= length) {
      return chunk;
    }
    const before = chunk?.bytes.length ?? 0;
    let capacity = Math.max(index === 0 ? SMALLEST : SMALLEST_BEHIND, before);
    while (capacity < length) {
      capacity *= 2;
    }
    this.#take(capacity - before);
    const bytes = Buffer.alloc(capacity);
    chunk?.bytes.copy(bytes);
    const own = { bytes, shared: false, pages: chunk?.pages ?? new Uint8Array(PAGES) };
    if (chunk === undefined) {
      this.#add(index, own);
    } else {
      this.#chunks.set(index, own);
    }
    return own;
  }

  #add(index: number, chunk: Chunk): void {
    this.#chunks.set(index, chunk);
    const ordered = this.#ordered;
    if (ordered === undefined || index > (ordered.at(-1) ?? -1)) {
      ordered?.push(index);
    } else {
      this.#ordered = undefined;
    }
  }

  #remove(index: number): void {
    const chunk = this.#chunks.get(index)!;
    this.#chunks.delete(index);
    this.#ordered = undefined;
    this.#take(-chunk.bytes.length);
  }

  #take(bytes: number): void {
    if (bytes === 0) {
      return;
    }
    this.#account(bytes);
    this.spaceUsed += bytes;
  }
}

const EMPTY = new Uint8Array(0);

function chunkOf(offset: number): number {
  return Math.floor(offset / CHUNK);
}

function withinChunk(offset: number): number {
  return offset % CHUNK;
}

function offsetAt(index: number, start: number): number {
  return index * CHUNK + start;
}

/** The index of the first number that is at least `wanted`. */
function lowerBound(ordered: readonly number[], wanted: number): number {
  let low = 0;
  let high = ordered.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ordered[middle]! < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}
