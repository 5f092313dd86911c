/** The peer sends a record that is longer than allowed; nothing after it can be understood. */
export class RecordTooLongError extends Error {
  override name = "RecordTooLongError";
}

/**
 * `view` covers `buffer`; the record is the bytes from `start` to `end`. Returns true if it is done with them: the
 * buffer may then be reused; else it is left alone.
 */
export type RecordConsumer = (buffer: Buffer, view: DataView, start: number, end: number) => boolean;

const LAST_FRAGMENT = 0x8000_0000;
/** A record of tiny fragments would cost unbounded time; no sender needs this many. */
const MAXIMUM_FRAGMENTS = 4096;
const INITIAL_ASSEMBLY = 16 * 1024;
/** Smaller assembly buffers are not worth keeping. */
const KEEP_FROM = 256 * 1024;

/**
 * Splits a TCP stream into records (RFC 5531 §11). A record that lies wholly in one chunk is handed out as a view of
 * that chunk; others are assembled in a buffer of their own.
 */
export class RecordReader {
  readonly #maximum: number;
  readonly #consume: RecordConsumer;
  /** The four bytes of a fragment header, as far as they have arrived. */
  #header = 0;
  #headerBytes = 0;
  /** Bytes still missing from the current fragment. */
  #fragmentLeft = 0;
  #last = false;
  #fragments = 0;
  #assembly: Buffer | undefined;
  #assembled = 0;
  /** An assembly buffer that nobody needs any more. */
  #spare: Buffer | undefined;

  /** What came after the record at which the consumer paused. */
  #held: Buffer | undefined;
  #stopped = false;

  /** `maximum`: the longest record in bytes. */
  constructor(maximum: number, consume: RecordConsumer) {
    this.#maximum = maximum;
    this.#consume = consume;
  }

  get paused(): boolean {
    return this.#stopped;
  }

  /** For the consumer: no more records after this one, until {@link resume}. */
  pause(): void {
    this.#stopped = true;
  }

  /** Goes on with what was held back. Throws {@link RecordTooLongError}. */
  resume(): void {
    this.#stopped = false;
    const held = this.#held;
    this.#held = undefined;
    if (held !== undefined) {
      this.push(held);
    }
  }

  /** Throws {@link RecordTooLongError}; the reader must not be used after that. */
  push(chunk: Buffer): void {
    if (this.#stopped) {
      this.#held = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk]);
      return;
    }
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    const end = chunk.length;
    let at = 0;
    while (at < end) {
      if (this.#stopped) {
        this.#held = chunk.subarray(at);
        return;
      }
      if (this.#fragmentLeft === 0 && this.#headerBytes === 0 && end - at >= 4) {
        const header = view.getUint32(at);
        const length = header & ~LAST_FRAGMENT;
        if (header >= LAST_FRAGMENT && this.#assembly === undefined && length <= end - at - 4) {
          this.#check(length);
          this.#fragments = 0;
          at += 4;
          this.#consume(chunk, view, at, at + length);
          at += length;
          continue;
        }
      }
      if (this.#fragmentLeft === 0) {
        at = this.#readHeader(chunk, at);
        if (this.#headerBytes > 0) {
          return;
        }
        if (this.#fragmentLeft === 0) {
          this.#endFragment();
        }
        continue;
      }
      const take = Math.min(this.#fragmentLeft, end - at);
      const assembly = this.#room(take);
      chunk.copy(assembly, this.#assembled, at, at + take);
      this.#assembled += take;
      this.#fragmentLeft -= take;
      at += take;
      if (this.#fragmentLeft === 0) {
        this.#endFragment();
      }
    }
  }

  #readHeader(chunk: Buffer, from: number): number {
    let at = from;
    while (this.#headerBytes < 4 && at < chunk.length) {
      this.#header = ((this.#header << 8) | chunk[at++]!) >>> 0;
      this.#headerBytes++;
    }
    if (this.#headerBytes < 4) {
      return at;
    }
    this.#headerBytes = 0;
    this.#last = this.#header >= LAST_FRAGMENT;
    this.#fragmentLeft = this.#header & ~LAST_FRAGMENT;
    if (++this.#fragments > MAXIMUM_FRAGMENTS) {
      throw new RecordTooLongError(`a record has more than ${MAXIMUM_FRAGMENTS} fragments`);
    }
    this.#check(this.#assembled + this.#fragmentLeft);
    return at;
  }

  #endFragment(): void {
    if (!this.#last) {
      return;
    }
    const record = this.#assembly ?? Buffer.alloc(0);
    const length = this.#assembled;
    this.#assembly = undefined;
    this.#assembled = 0;
    this.#fragments = 0;
    this.#last = false;
    const view = new DataView(record.buffer, record.byteOffset, record.length);
    // Touching the pages of a fresh buffer of 1 MiB costs more than the copy into it.
    if (this.#consume(record, view, 0, length) && record.length >= KEEP_FROM) {
      this.#spare = record;
    }
  }

  #check(length: number): void {
    if (length > this.#maximum) {
      throw new RecordTooLongError(`a record of ${length} bytes is longer than the ${this.#maximum} allowed`);
    }
  }

  /**
   * The assembly buffer, with room for `count` more bytes. It grows with what has arrived, not with what a header
   * promises.
   */
  #room(count: number): Buffer {
    const needed = this.#assembled + count;
    const current = this.#assembly;
    if (current !== undefined && current.length >= needed) {
      return current;
    }
    if (current === undefined && this.#spare !== undefined && this.#spare.length >= needed) {
      this.#assembly = this.#spare;
      this.#spare = undefined;
      return this.#assembly;
    }
    const whole = this.#last ? this.#assembled + this.#fragmentLeft : 0;
    const doubled = Math.max(INITIAL_ASSEMBLY, needed * 2);
    // In an honest large WRITE the rest follows the first chunk at once: one allocation is enough.
    const capacity = whole > 0 && needed * 32 >= whole ? whole : doubled;
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(capacity, this.#maximum)));
    current?.copy(larger, 0, 0, this.#assembled);
    this.#assembly = larger;
    return larger;
  }
}
