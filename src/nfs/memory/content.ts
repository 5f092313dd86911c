import { FileSystemError, FileSystemStatus } from "../file-system.ts";
import { PAGE_BYTES, Pages } from "./pages.ts";

/** Bytes of a chunk: as much as one READ asks for, so that such a READ is answered by a view. */
const CHUNK = 2 ** 20;
const SMALLEST = 4096;
/** The least that later chunks take, so that a capacity holds few enough chunks to clone or drop all at once. */
const SMALLEST_BEHIND = 64 * 1024;
/** Shorter reads get a copy: a view would make the next write to the chunk copy all of it. */
const VIEW_FROM = 32 * 1024;
/** Chunks that are reserved at once, so that no request keeps the server busy for long: 1 TiB. */
const MOST_RESERVED = 2 ** 20;

/** Chunks that are cleared or cloned in one step: some 3 ms. */
const CHUNKS_AT_ONCE = 1024;

/** Work whose steps can be done in turns of the event loop of their own. */
export type Steps = Generator<void, void>;

interface Chunk {
  /** Grows up to {@link CHUNK} bytes; beyond it, and beyond the end of the file, all is zeros. */
  bytes: Buffer;
  /** A reader or another file uses it: it must be copied before it is written to. */
  shared: boolean;
  /** Bytes of memory that it is charged: those of `bytes`, or what these must grow to for what is reserved. */
  charged: number;
  /** Behind the end of the file all are holes. */
  readonly pages: Pages;
}

/** The bytes of a sparse file in memory. Its cost in time and memory depends on what was written, not on its length. */
export class Content {
  size: number = 0;
  /** Bytes of memory that are in use or kept back for what is reserved. */
  memoryUsed = 0;
  #usedPages = 0;
  readonly #chunks = new Map<number, Chunk>();
  /** The chunks' numbers in order; undefined after a change. */
  #ordered: number[] | undefined;
  readonly #account: (bytes: number) => void;

  /** `account` is called before memory is taken, and may throw; and with a negative number when it is freed. */
  constructor(account: (bytes: number) => void) {
    this.#account = account;
  }

  /** Bytes of the pages that hold data or are reserved. */
  get spaceUsed(): number {
    return this.#usedPages * PAGE_BYTES;
  }

  /** A view that nobody changes any more, or a copy. */
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
        this.#usedPages -= chunk.pages.used;
        chunk.pages.write(start, start + length);
        this.#usedPages += chunk.pages.used;
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

  /**
   * Takes the memory that writes to the range will need, and makes the file reach to its end. Throws NOSPC, and then
   * has changed nothing.
   */
  reserve(from: number, to: number): void {
    const first = chunkOf(from);
    const last = chunkOf(to - 1);
    const lastEnd = to - offsetAt(last, 0);
    if (last - first >= MOST_RESERVED) {
      throw new FileSystemError(FileSystemStatus.NOSPC);
    }
    let needed = (last - first) * CHUNK + capacityFor(last, lastEnd);
    for (const index of this.#numbers(first, last)) {
      const wanted = capacityFor(index, index === last ? lastEnd : CHUNK);
      needed -= Math.min(this.#chunks.get(index)!.charged, wanted);
    }
    this.#take(needed);
    for (let index = first; index <= last; index++) {
      const end = index === last ? lastEnd : CHUNK;
      const chunk = this.#chunks.get(index) ?? this.#add(index, emptyChunk());
      chunk.charged = Math.max(chunk.charged, capacityFor(index, end));
      this.#usedPages -= chunk.pages.used;
      chunk.pages.reserve(index === first ? withinChunk(from) : 0, end);
      this.#usedPages += chunk.pages.used;
    }
    this.size = Math.max(this.size, to);
  }

  /** Makes the range read as zeros, and gives back the memory of chunks in which nothing is left, and what was reserved. */
  clear(from: number, to: number): void {
    const steps = this.clearing(from, to);
    while (!steps.next().done) {}
  }

  /** {@link clear} in steps, each of which takes little time. */
  *clearing(from: number, to: number): Steps {
    if (from >= to) {
      return;
    }
    // The page in which the file ends is cleared whole: nothing of it is behind that end.
    const end = to >= this.size ? Number.POSITIVE_INFINITY : to;
    const first = chunkOf(from);
    const last = chunkOf(end);
    let left = CHUNKS_AT_ONCE;
    for (const index of this.#numbers(first, last)) {
      if (left-- === 0) {
        yield;
        left = CHUNKS_AT_ONCE;
      }
      const chunk = this.#chunks.get(index)!;
      const start = index === first ? withinChunk(from) : 0;
      const stop = index === last ? withinChunk(end) : CHUNK;
      this.#usedPages -= chunk.pages.used;
      if (start === 0 && stop === CHUNK) {
        this.#remove(index);
        continue;
      }
      chunk.pages.clear(start, stop);
      this.#usedPages += chunk.pages.used;
      if (chunk.pages.used === 0) {
        this.#remove(index);
        continue;
      }
      const written = Math.min(stop, chunk.bytes.length);
      if (start < written) {
        this.#writable(index, written).bytes.fill(0, start, written);
      }
      this.#charge(chunk, Math.max(chunk.bytes.length, capacityFor(index, chunk.pages.reservedEnd)));
    }
  }

  /** The first offset from `offset` on that is data (or a hole); the end of the file if there is none. */
  seek(offset: number, data: boolean): number {
    let index = chunkOf(offset);
    let page = Math.floor(withinChunk(offset) / PAGE_BYTES);
    while (offsetAt(index, page * PAGE_BYTES) < this.size) {
      const chunk = this.#chunks.get(index);
      if (chunk !== undefined) {
        const found = data ? chunk.pages.nextData(page) : chunk.pages.nextHole(page);
        if (found < chunk.pages.count) {
          return Math.min(Math.max(offset, offsetAt(index, found * PAGE_BYTES)), this.size);
        }
        index++;
      } else {
        if (!data) {
          return Math.max(offset, offsetAt(index, page * PAGE_BYTES));
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

  /**
   * Takes over a range of another content (or another range of this one), sharing whole chunks where they align, in steps
   * that each take little time. Neither may change in between, and what this one has is neither the old nor the new.
   */
  *cloning(source: Content, sourceOffset: number, offset: number, length: number): Steps {
    const end = offset + length;
    const sourceEnd = sourceOffset + length;
    yield* this.clearing(offset, end);
    const first = chunkOf(sourceOffset);
    const last = chunkOf(sourceEnd);
    let left = CHUNKS_AT_ONCE;
    for (const index of source.#numbers(first, last)) {
      if (left-- === 0) {
        yield;
        left = CHUNKS_AT_ONCE;
      }
      const from = index === first ? withinChunk(sourceOffset) : 0;
      const to = index === last ? withinChunk(sourceEnd) : CHUNK;
      const chunk = source.#chunks.get(index)!;
      if (chunk.pages.nextData(0) === chunk.pages.count) {
        continue;
      }
      // The difference first: the sum of the two can be beyond what is exact.
      const at = offset + (offsetAt(index, from) - sourceOffset);
      // Behind the end of the file a chunk has nothing that could show.
      const whole = from === 0 && (to >= chunk.bytes.length || sourceEnd >= source.size);
      if (whole && withinChunk(at) === 0 && !this.#chunks.has(chunkOf(at))) {
        chunk.shared = true;
        this.#share(chunk, chunkOf(at));
      } else {
        this.#copyPages(chunk, from, Math.min(to, chunk.bytes.length), at);
      }
    }
    this.size = Math.max(this.size, end);
  }

  #share({ bytes, pages }: Chunk, index: number): void {
    this.#take(bytes.length);
    const data = pages.copyOfData();
    this.#add(index, { bytes, shared: true, charged: bytes.length, pages: data });
    this.#usedPages += data.used;
  }

  /** Writes what the chunk has of data from `from` to `to`; its holes stay holes. */
  #copyPages({ bytes, pages }: Chunk, from: number, to: number, offset: number): void {
    let start = from;
    while (start < to) {
      const data = pages.nextData(Math.floor(start / PAGE_BYTES));
      const first = Math.max(start, data * PAGE_BYTES);
      const end = Math.min(to, pages.nextHole(data) * PAGE_BYTES);
      if (first < end) {
        this.write(offset + (first - from), bytes.subarray(first, end));
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
    const capacity = Math.max(capacityFor(index, length), chunk?.bytes.length ?? 0);
    if (chunk === undefined) {
      this.#take(capacity);
      return this.#add(index, { ...emptyChunk(), bytes: Buffer.alloc(capacity), charged: capacity });
    }
    this.#charge(chunk, Math.max(capacity, chunk.charged));
    const bytes = Buffer.alloc(capacity);
    chunk.bytes.copy(bytes);
    chunk.bytes = bytes;
    chunk.shared = false;
    return chunk;
  }

  #add(index: number, chunk: Chunk): Chunk {
    this.#chunks.set(index, chunk);
    const ordered = this.#ordered;
    if (ordered === undefined || index > (ordered.at(-1) ?? -1)) {
      ordered?.push(index);
    } else {
      this.#ordered = undefined;
    }
    return chunk;
  }

  #remove(index: number): void {
    const chunk = this.#chunks.get(index)!;
    this.#chunks.delete(index);
    this.#ordered = undefined;
    this.#take(-chunk.charged);
  }

  #charge(chunk: Chunk, bytes: number): void {
    this.#take(bytes - chunk.charged);
    chunk.charged = bytes;
  }

  #take(bytes: number): void {
    if (bytes === 0) {
      return;
    }
    this.#account(bytes);
    this.memoryUsed += bytes;
  }
}

const EMPTY = Buffer.alloc(0);

function emptyChunk(): Chunk {
  return { bytes: EMPTY, shared: false, charged: 0, pages: new Pages(CHUNK / PAGE_BYTES) };
}

/** How long the memory of a chunk is that has `length` bytes; 0 for none. */
function capacityFor(index: number, length: number): number {
  if (length === 0) {
    return 0;
  }
  let capacity = index === 0 ? SMALLEST : SMALLEST_BEHIND;
  while (capacity < length) {
    capacity *= 2;
  }
  return capacity;
}

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
