/** The most that native/message.h accepts, and more than any kernel passes to a program. */
const MAXIMUM_MESSAGE_BYTES = 64 * 2 ** 20;

/**
 * A message as native/message.h describes it: a 32-bit little-endian length, then NUL-ended strings.
 * With "latin1", strings hold one byte per char. Throws a RangeError for a string that contains NUL, and for a message over 64 MiB.
 */
export function encodeMessage(
  strings: readonly (string | number)[],
  encoding: "utf8" | "latin1" = "utf8",
): Buffer {
  const body = `${strings.join("\0")}\0`;
  if (body.split("\0").length !== strings.length + 1) {
    throw new RangeError("a string for a helper contains a NUL byte");
  }
  const size = Buffer.byteLength(body, encoding);
  if (size > MAXIMUM_MESSAGE_BYTES) {
    throw new RangeError(
      `${size} bytes are too long for a helper's message (at most ${MAXIMUM_MESSAGE_BYTES})`,
    );
  }
  const message = Buffer.allocUnsafe(4 + size);
  message.writeUInt32LE(size, 0);
  message.write(body, 4, encoding);
  return message;
}

/** A list inside a message: its length, then its elements. */
export function list(strings: readonly (string | number)[]): (string | number)[] {
  return [strings.length, ...strings];
}

/** Splits a stream into messages. */
export class MessageDecoder {
  #rest: Buffer = Buffer.alloc(0);

  /** The messages that the stream's next chunk completes. Throws an Error if it is not a stream of messages. */
  push(chunk: Buffer): string[][] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const messages: string[][] = [];
    while (this.#rest.length >= 4) {
      const end = 4 + this.#rest.readUInt32LE(0);
      if (end < 5 || end > 4 + MAXIMUM_MESSAGE_BYTES) {
        throw new Error(`a helper's message has ${end - 4} bytes`);
      }
      if (this.#rest.length < end) {
        break;
      }
      if (this.#rest[end - 1] !== 0) {
        throw new Error("a helper's message does not end in NUL");
      }
      messages.push(this.#rest.toString("utf8", 4, end - 1).split("\0"));
      this.#rest = this.#rest.subarray(end);
    }
    return messages;
  }
}
