const INITIAL_CAPACITY = 64 * 1024;

/**
 * Writes XDR (RFC 4506) into one growing buffer. Large opaque data can be attached by reference instead of
 * being copied; {@link XdrWriter.segments} then returns the whole message in pieces.
 */
export class XdrWriter {
  buffer: Buffer;
  /** Bytes in {@link buffer}. Attachments do not count. */
  position = 0;
  #view: DataView;
  /** `buffer.length`, which costs more to ask for. */
  #capacity: number;
  readonly #attachments: Uint8Array[] = [];
  readonly #attachedAt: number[] = [];
  #attachedBytes = 0;

  constructor(capacity: number = INITIAL_CAPACITY) {
    this.buffer = Buffer.allocUnsafeSlow(capacity);
    this.#view = new DataView(this.buffer.buffer);
    this.#capacity = capacity;
  }

  /** Bytes written, attachments included. */
  get length(): number {
    return this.position + this.#attachedBytes;
  }

  get hasAttachments(): boolean {
    return this.#attachments.length > 0;
  }

  /** Starts over in the same buffer. */
  clear(): void {
    this.position = 0;
    if (this.#attachments.length > 0) {
      this.#attachments.length = this.#attachedAt.length = 0;
    }
    this.#attachedBytes = 0;
  }

  /** Starts over in a new buffer; the old one stays with whoever has it. */
  renew(): void {
    this.clear();
    this.buffer = Buffer.allocUnsafeSlow(INITIAL_CAPACITY);
    this.#view = new DataView(this.buffer.buffer);
    this.#capacity = INITIAL_CAPACITY;
  }

  /** Discards what was written from `position` on. */
  truncate(position: number): void {
    this.position = position;
    while (this.#attachedAt.length > 0 && this.#attachedAt.at(-1)! > position) {
      this.#attachedAt.pop();
      this.#attachedBytes -= this.#attachments.pop()!.length;
    }
  }

  uint32(value: number): void {
    const at = this.#advance(4);
    this.#view.setUint32(at, value);
  }

  bool(value: boolean): void {
    this.uint32(value ? 1 : 0);
  }

  /** An integer from 0 to 2^53-1. */
  uint64(value: number): void {
    const at = this.#advance(8);
    // Most values are small, and the division is slow.
    this.#view.setUint32(at, value <= 0xffff_ffff ? 0 : value / 0x1_0000_0000);
    this.#view.setUint32(at + 4, value);
  }

  /** A number up to 2^53-1, or a bigint up to 2^64-1. */
  exactUint64(value: number | bigint): void {
    if (typeof value === "number") {
      this.uint64(value);
      return;
    }
    const at = this.#advance(8);
    this.#view.setBigUint64(at, value);
  }

  /** An integer from -(2^53-1) to 2^53-1. */
  int64(value: number): void {
    if (value >= 0) {
      this.uint64(value);
      return;
    }
    const at = this.#advance(8);
    this.#view.setInt32(at, Math.floor(value / 0x1_0000_0000));
    this.#view.setUint32(at + 4, value);
  }

  /** An int64 and a uint32, such as a time: with one test for room, as times are half of what GETATTR writes. */
  int64AndUint32(first: number, second: number): void {
    const at = this.#advance(12);
    const view = this.#view;
    view.setInt32(at, first >= 0 && first <= 0xffff_ffff ? 0 : Math.floor(first / 0x1_0000_0000));
    view.setUint32(at + 4, first);
    view.setUint32(at + 8, second);
  }

  /** Fixed-length opaque, padded. */
  fixed(data: Uint8Array): void {
    const length = data.length;
    const at = this.#advance((length + 3) & ~3);
    const buffer = this.buffer;
    // A call into TypedArray.prototype.set costs more than a loop over a file handle's worth of bytes.
    if (length <= 48) {
      for (let index = 0; index < length; index++) {
        buffer[at + index] = data[index]!;
      }
    } else {
      buffer.set(data, at);
    }
    this.#pad(at + length);
  }

  /** Variable-length opaque. */
  opaque(data: Uint8Array): void {
    this.uint32(data.length);
    this.fixed(data);
  }

  /** Variable-length opaque by reference: `data` must not change until the message has been sent. */
  attach(data: Uint8Array): void {
    this.uint32(data.length);
    this.#attachments.push(data);
    this.#attachedAt.push(this.position);
    this.#attachedBytes += data.length;
    const padding = -data.length & 3;
    const at = this.#advance(padding);
    this.buffer.fill(0, at, at + padding);
  }

  /** A string with one byte per char, as variable-length opaque. */
  latin1(value: string): void {
    const length = value.length;
    this.uint32(length);
    const at = this.#advance((length + 3) & ~3);
    const buffer = this.buffer;
    if (length <= 24) {
      for (let index = 0; index < length; index++) {
        buffer[at + index] = value.charCodeAt(index);
      }
    } else {
      buffer.write(value, at, length, "latin1");
    }
    this.#pad(at + length);
  }

  /** A non-negative integer as a decimal string. */
  decimal(value: number): void {
    if (value < 10) {
      const at = this.#advance(8);
      this.#view.setUint32(at, 1);
      this.#view.setUint32(at + 4, (0x30 + value) << 24);
      return;
    }
    let digits = 1;
    for (let rest = value; rest >= 10; rest = Math.floor(rest / 10)) {
      digits++;
    }
    this.uint32(digits);
    const at = this.#advance((digits + 3) & ~3);
    let rest = value;
    for (let index = at + digits - 1; index >= at; index--) {
      this.buffer[index] = 0x30 + (rest % 10);
      rest = Math.floor(rest / 10);
    }
    this.#pad(at + digits);
  }

  /** Leaves room for `count` uint32s; returns the position for {@link patch}. */
  reserve(count: number): number {
    return this.#advance(4 * count);
  }

  /** Overwrites the uint32 at `position`. */
  patch(position: number, value: number): void {
    this.#view.setUint32(position, value);
  }

  /** Moves everything from `position` on to the end of `target`. */
  moveTo(target: XdrWriter, position: number): void {
    const shift = target.position - position;
    const at = target.#advance(this.position - position);
    this.buffer.copy(target.buffer, at, position, this.position);
    for (let index = 0; index < this.#attachments.length; index++) {
      if (this.#attachedAt[index]! <= position) {
        continue;
      }
      target.#attachments.push(this.#attachments[index]!);
      target.#attachedBytes += this.#attachments[index]!.length;
      target.#attachedAt.push(this.#attachedAt[index]! + shift);
    }
    this.truncate(position);
  }

  /** Copies bytes as they are, without length or padding. */
  raw(data: Uint8Array): void {
    const at = this.#advance(data.length);
    this.buffer.set(data, at);
  }

  /** The message from `start` on, in order: views of the buffer with the attachments between them. */
  segments(start = 0): Uint8Array[] {
    const segments: Uint8Array[] = [];
    let from = start;
    for (let index = 0; index < this.#attachments.length; index++) {
      const at = this.#attachedAt[index]!;
      if (at <= start) {
        continue;
      }
      segments.push(this.buffer.subarray(from, at), this.#attachments[index]!);
      from = at;
    }
    if (from < this.position) {
      segments.push(this.buffer.subarray(from, this.position));
    }
    return segments;
  }

  #pad(from: number): void {
    for (let index = from; index < this.position; index++) {
      this.buffer[index] = 0;
    }
  }

  #advance(count: number): number {
    const at = this.position;
    if (at + count > this.#capacity) {
      this.#grow(at + count);
    }
    this.position = at + count;
    return at;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.position);
    this.buffer = larger;
    this.#view = new DataView(larger.buffer);
    this.#capacity = larger.length;
  }
}
