import { checkOf, contentOf, type Frame, type Identity, newFrame, setCheck } from "../local/layout.ts";

/** Cuts bytes that come in any pieces into chunks, each in a frame of its own with its check. */
export class ChunkCutter {
  readonly #chunkSizeBytes: number;
  readonly #identity: Identity;
  readonly #chunk: (index: number, frame: Frame, content: Uint8Array) => void;
  #index = 0;
  #filled = 0;
  /** Of all that is to come, what no frame was made for. */
  #rest: number;
  #frame: Frame | undefined;
  #content = new Uint8Array(0);

  /** `chunk` gets all of the `length` bytes in chunks, the last of which may be shorter, for the store with the identity. */
  constructor(
    chunkSizeBytes: number,
    length: number,
    identity: Identity,
    chunk: (index: number, frame: Frame, content: Uint8Array) => void,
  ) {
    this.#chunkSizeBytes = chunkSizeBytes;
    this.#rest = length;
    this.#identity = identity;
    this.#chunk = chunk;
  }

  take(data: Uint8Array): void {
    for (let taken = 0; taken < data.length; ) {
      this.#frame ??= this.#nextFrame();
      const part = data.subarray(taken, taken + this.#content.length - this.#filled);
      this.#content.set(part, this.#filled);
      this.#filled += part.length;
      taken += part.length;
      if (this.#filled === this.#content.length) {
        const frame = this.#frame;
        this.#frame = undefined;
        setCheck(frame, checkOf(this.#content, this.#identity));
        this.#chunk(this.#index++, frame, this.#content);
      }
    }
  }

  #nextFrame(): Frame {
    const size = Math.min(this.#chunkSizeBytes, this.#rest);
    const frame = newFrame(size);
    this.#rest -= size;
    this.#content = contentOf(frame, size);
    this.#filled = 0;
    return frame;
  }
}
