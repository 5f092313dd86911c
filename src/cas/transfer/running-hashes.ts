import type { Digest, IncrementalHash } from "../../reapi/digest.ts";
import { CHECK_BYTES } from "../local/layout.ts";

/** Beyond so many, that of the blob which was begun first is given up. */
const MAXIMUM_BLOBS = 64;

/** The hash of a blob's beginning. */
interface RunningHash {
  readonly hash: IncrementalHash;
  /** How much has been hashed. */
  position: number;
  /** The checks of the chunks that were hashed. */
  readonly checks: Uint8Array[];
}

/**
 * Hashes blobs while they are received in chunks, as far as that is from the beginning on and without a gap: what is so
 * known need not be read from the disk again.
 */
export class RunningHashes {
  readonly #blobs = new Map<string, RunningHash>();

  /** Of a range that begins at `offset`: has to be called with each chunk and its check, in order. */
  receiver(
    digest: Digest,
    chunkSizeBytes: number,
    offset: number,
  ): (content: Uint8Array, check: Uint8Array) => void {
    const key = keyOf(digest, chunkSizeBytes);
    const running = this.#running(key, digest, offset);
    let position = offset;
    return (content, check) => {
      // One that was taken, or given up, is no longer ours.
      if (running !== undefined && running === this.#blobs.get(key) && running.position === position) {
        running.hash.update(content);
        running.position += content.length;
        // A copy: the frame that it is part of goes to another thread.
        running.checks.push(Uint8Array.from(check));
      }
      position += content.length;
    };
  }

  /**
   * Hands over the hash of the blob's beginning and how many chunks it covers, if these have the checks, which are one
   * after the other. It is forgotten here.
   */
  take(
    digest: Digest,
    chunkSizeBytes: number,
    checks: Uint8Array,
  ): { readonly hash: IncrementalHash; readonly chunks: number } | undefined {
    const key = keyOf(digest, chunkSizeBytes);
    const running = this.#blobs.get(key);
    this.#blobs.delete(key);
    return running !== undefined &&
      Buffer.concat(running.checks).equals(checks.subarray(0, running.checks.length * CHECK_BYTES))
      ? { hash: running.hash, chunks: running.checks.length }
      : undefined;
  }

  #running(key: string, digest: Digest, offset: number): RunningHash | undefined {
    const running = this.#blobs.get(key);
    if (running !== undefined || offset > 0) {
      return running;
    }
    if (this.#blobs.size >= MAXIMUM_BLOBS) {
      const [first] = this.#blobs.keys();
      this.#blobs.delete(first!);
    }
    const hash = digest.function.createHash(digest.sizeBytes);
    const begun: RunningHash = { hash, position: 0, checks: [] };
    this.#blobs.set(key, begun);
    return begun;
  }
}

function keyOf({ function: { name }, hash, sizeBytes }: Digest, chunkSizeBytes: number): string {
  return `${name} ${hash}/${sizeBytes} ${chunkSizeBytes}`;
}
