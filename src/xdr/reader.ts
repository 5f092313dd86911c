/** The bytes do not have the requested shape. */
export class XdrError extends Error {
  override name = "XdrError";
}

const EMPTY = Buffer.alloc(0);
const EMPTY_VIEW = new DataView(EMPTY.buffer, EMPTY.byteOffset, 0);

/**
 * Reads XDR (RFC 4506) from a range of a buffer. A reader is reused: {@link reset} points it at the next message.
 * Every method throws {@link XdrError} if the range ends too early.
 */
export class XdrReader {
  buffer: Buffer = EMPTY;
  /** Index in {@link buffer} of the next byte. */
  position = 0;
  /** Index in {@link buffer} after the last byte. */
  end = 0;
  #view: DataView = EMPTY_VIEW;

  /** `view` covers the same bytes as `buffer`; a caller with several messages in one buffer makes it once. */
  reset(buffer: Buffer, view: DataView, start: number, end: number): void {
    this.buffer = buffer;
    this.#view = view;
    this.position = start;
    this.end = end;
  }

  /** Lets go of the buffer. */
  clear(): void {
    this.reset(EMPTY, EMPTY_VIEW, 0, 0);
  }

  get remaining(): number {
    return this.end - this.position;
  }

  uint32(): number {
    const at = this.#advance(4);
    return this.#view.getUint32(at);
  }

  int32(): number {
    const at = this.#advance(4);
    return this.#view.getInt32(at);
  }

  bool(): boolean {
    const value = this.uint32();
    if (value > 1) {
      throw new XdrError(`expected a boolean, got ${value}`);
    }
    return value === 1;
  }

  /** Exact up to 2^53-1. Larger numbers come out rounded, but never below 2^53. */
  uint64(): number {
    const at = this.#advance(8);
    return this.#view.getUint32(at) * 0x1_0000_0000 + this.#view.getUint32(at + 4);
  }

  /** Exact: a number up to 2^53-1, a bigint beyond. */
  exactUint64(): number | bigint {
    const at = this.#advance(8);
    const high = this.#view.getUint32(at);
    if (high < 0x20_0000) {
      return high * 0x1_0000_0000 + this.#view.getUint32(at + 4);
    }
    return this.#view.getBigUint64(at);
  }

  /** Exact from -(2^53-1) to 2^53-1. */
  int64(): number {
    const at = this.#advance(8);
    return this.#view.getInt32(at) * 0x1_0000_0000 + this.#view.getUint32(at + 4);
  }

  /** Fixed-length opaque: a view of the buffer. */
  fixed(length: number): Buffer {
    const at = this.skip(length);
    return this.buffer.subarray(at, at + length);
  }

  /** Variable-length opaque of at most `maximum` bytes: a view of the buffer. */
  opaque(maximum: number): Buffer {
    const length = this.length(maximum);
    const at = this.skip(length);
    return this.buffer.subarray(at, at + length);
  }

  /** Variable-length bytes of at most `maximum`, as a string with one byte per char. */
  latin1(maximum: number): string {
    const length = this.length(maximum);
    const at = this.skip(length);
    return this.buffer.toString("latin1", at, at + length);
  }

  /** The length word of an array or opaque. */
  length(maximum: number): number {
    const length = this.uint32();
    if (length > maximum) {
      throw new XdrError(`expected at most ${maximum} elements, got ${length}`);
    }
    return length;
  }

  /**
   * Whether the uint32s from `position` on, which must lie within the range, are `words`. For what comes again and
   * again, such as credentials: a quarter of the steps that its bytes would take.
   */
  matches(position: number, words: Uint32Array): boolean {
    const view = this.#view;
    for (let index = 0; index < words.length; index++) {
      if (view.getUint32(position + 4 * index) !== words[index]) {
        return false;
      }
    }
    return true;
  }

  /** Passes over `length` bytes and their padding; returns the index of the first. */
  skip(length: number): number {
    return this.#advance((length + 3) & ~3);
  }

  #advance(count: number): number {
    const at = this.position;
    // The second test catches lengths near 2^32, which become negative when rounded up.
    if (count > this.end - at || count < 0) {
      throw new XdrError(`expected ${count} more bytes, got ${this.end - at}`);
    }
    this.position = at + count;
    return at;
  }
}

/** The big-endian uint32s of bytes whose number is a multiple of 4, for {@link XdrReader.matches}. */
export function wordsOf(bytes: Buffer): Uint32Array {
  return Uint32Array.from({ length: bytes.length / 4 }, (_, index) => bytes.readUInt32BE(4 * index));
}
