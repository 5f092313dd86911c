import type { Socket } from "node:net";
import type { XdrWriter } from "../../xdr/index.ts";

/** Replies up to this length are copied one after the other: a segment of its own in a write costs more. */
const COPY_UP_TO = 2048;
const CHUNK_BYTES = 16 * 1024;

/**
 * What goes out on one connection: replies composed in the batch while requests were served, and segments of those
 * that had to wait. All that is ready leaves in one write.
 */
export class ReplyQueue {
  readonly #socket: Socket;
  readonly #batch: XdrWriter;
  readonly #onFlushed: () => void;
  #ready: Uint8Array[] = [];
  /** Small replies; those from `#chunkStart` to `#chunkEnd` have yet to follow the ready segments. */
  #chunk: Buffer = Buffer.alloc(0);
  #chunkStart = 0;
  #chunkEnd = 0;
  #readyBytes = 0;
  #isHeld = false;
  #flushScheduled = false;
  #closed = false;
  readonly #flushLater = () => {
    this.#flush();
    this.#onFlushed();
  };

  /** All connections share `batch`: it is this one's between {@link hold} and {@link release}. */
  constructor(socket: Socket, batch: XdrWriter, onFlushed: () => void) {
    this.#socket = socket;
    this.#batch = batch;
    this.#onFlushed = onFlushed;
  }

  /** Bytes, besides the batch, that the peer has not taken yet. */
  get unsent(): number {
    return this.#socket.writableLength + this.#readyBytes;
  }

  /** Sends the segments of whole records, in order, once the current tick's work is done. They must not change. */
  enqueue(segments: readonly Uint8Array[]): void {
    if (this.#closed) {
      return;
    }
    this.#endChunk();
    for (const segment of segments) {
      this.#ready.push(segment);
      this.#readyBytes += segment.length;
    }
    this.#flushSoon();
  }

  /** Like {@link enqueue}, with the writer's content; the writer can then be reused. */
  take(writer: XdrWriter): void {
    if (this.#closed) {
      writer.clear();
    } else if (writer.length <= COPY_UP_TO && !writer.hasAttachments) {
      this.#copy(writer.buffer, writer.position);
      writer.clear();
      this.#flushSoon();
    } else {
      this.enqueue(writer.segments());
      writer.renew();
    }
  }

  #copy(bytes: Buffer, length: number): void {
    if (this.#chunkEnd + length > this.#chunk.length) {
      this.#endChunk();
      this.#chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
      this.#chunkStart = this.#chunkEnd = 0;
    }
    bytes.copy(this.#chunk, this.#chunkEnd, 0, length);
    this.#chunkEnd += length;
    this.#readyBytes += length;
  }

  #endChunk(): void {
    if (this.#chunkStart < this.#chunkEnd) {
      this.#ready.push(this.#chunk.subarray(this.#chunkStart, this.#chunkEnd));
      this.#chunkStart = this.#chunkEnd;
    }
  }

  #flushSoon(): void {
    if (this.#flushScheduled || this.#isHeld) {
      return;
    }
    this.#flushScheduled = true;
    queueMicrotask(this.#flushLater);
  }

  /** Requests of the connection are being served: nothing is sent until {@link release}. */
  hold(): void {
    this.#isHeld = true;
  }

  /** Sends the batch and everything else that is ready. */
  release(): void {
    this.#isHeld = false;
    this.#flush();
  }

  /** The connection has ended; there is nobody to send to. */
  close(): void {
    this.#closed = true;
    this.#ready = [];
  }

  #flush(): void {
    this.#flushScheduled = false;
    this.#readyBytes = 0;
    this.#endChunk();
    const socket = this.#socket;
    const ready = this.#ready;
    const batch = this.#batch;
    const batched = this.#isHeld ? 0 : batch.length;
    if (this.#closed) {
      this.#ready = [];
      batch.clear();
      return;
    }
    if (ready.length === 0 && batched === 0) {
      return;
    }
    if (ready.length === 0 && !batch.hasAttachments) {
      socket.write(batch.buffer.subarray(0, batch.position));
    } else {
      socket.cork();
      for (const segment of ready) {
        socket.write(segment);
      }
      for (const segment of batch.segments()) {
        socket.write(segment);
      }
      socket.uncork();
      this.#ready = [];
    }
    // Node writes at once where the kernel has room; only what is left over still needs the buffer.
    if (batched > 0) {
      if (socket.writableLength === 0) {
        batch.clear();
      } else {
        batch.renew();
      }
    }
  }
}
