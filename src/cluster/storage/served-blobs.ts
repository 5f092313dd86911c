import { unlessAborted } from "../../async/wait.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { BlobStore } from "./blob-store.ts";

/** What clients have read since the last reset. */
export interface ReadStatistics {
  /** One per blob of a batch, and one per ByteStream.Read. */
  reads: number;
  /** Bytes of content sent, before compression. */
  bytes: number;
  /** The same for each blob, by "HASH-SIZE". */
  byBlob: Map<string, { reads: number; bytes: number }>;
}

/**
 * Called before each piece of a blob is read for a client, with the piece's offset. By throwing, a test makes the
 * read fail; by a promise it makes it late, or hang if the promise never resolves.
 */
export type ReadInterceptor = (digest: Digest, offset: number) => void | Promise<void>;

/** The blobs as clients get them: counts what leaves the store, and lets tests inject faults. */
export class ServedBlobs {
  readonly #store: BlobStore;
  readonly #intercept: ReadInterceptor | undefined;
  #statistics: ReadStatistics = none();

  constructor(store: BlobStore, intercept?: ReadInterceptor) {
    this.#store = store;
    this.#intercept = intercept;
  }

  /** As {@link BlobStore.read}. Rejects with the signal's reason once the client no longer waits. */
  async read(digest: Digest, signal: AbortSignal): Promise<Uint8Array> {
    const count = this.#beginRead(digest);
    await this.#interception(digest, 0, signal);
    const content = await this.#store.read(digest);
    count(content.length);
    return content;
  }

  /** As {@link BlobStore.stream}. Throws the signal's reason once the client no longer waits. */
  async *stream(
    digest: Digest,
    offset: number,
    limit: number,
    signal: AbortSignal,
  ): AsyncGenerator<Uint8Array> {
    const count = this.#beginRead(digest);
    let position = offset;
    await this.#interception(digest, position, signal);
    for await (const chunk of this.#store.stream(digest, offset, limit)) {
      if (position > offset) {
        await this.#interception(digest, position, signal);
      }
      count(chunk.length);
      position += chunk.length;
      yield chunk;
    }
  }

  statistics(): ReadStatistics {
    return structuredClone(this.#statistics);
  }

  resetStatistics(): void {
    this.#statistics = none();
  }

  #beginRead(digest: Digest): (bytes: number) => void {
    const statistics = this.#statistics;
    const key = `${digest.hash}-${digest.sizeBytes}`;
    const blob = statistics.byBlob.get(key) ?? { reads: 0, bytes: 0 };
    statistics.byBlob.set(key, blob);
    statistics.reads++;
    blob.reads++;
    return (bytes) => {
      statistics.bytes += bytes;
      blob.bytes += bytes;
    };
  }

  async #interception(digest: Digest, offset: number, signal: AbortSignal): Promise<void> {
    if (!this.#intercept) {
      return;
    }
    signal.throwIfAborted();
    await unlessAborted(Promise.resolve(this.#intercept(digest, offset)), signal);
  }
}

function none(): ReadStatistics {
  return { reads: 0, bytes: 0, byBlob: new Map() };
}
