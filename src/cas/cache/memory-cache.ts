import { LRUCache } from "lru-cache";
import type { Digest, DigestFunction } from "../../reapi/digest.ts";

/** Stands for a chunk of a large blob; its identity is the key. */
export type ChunkKey = object;

interface Piece {
  readonly function: DigestFunction | undefined;
  readonly content: Uint8Array;
}

/** What an entry takes besides its content: the cache's slots, three objects, and the frame of the local store. */
const OVERHEAD_BYTES = 480;

/** Keeps small blobs and chunks of large ones in memory; drops the least recently used first. */
export class MemoryCache {
  readonly #pieces: LRUCache<string | ChunkKey, Piece>;
  readonly #perInstanceName: boolean;
  #evictions = 0;

  /** @param perInstanceName Whether what was set for an instance name is there only for that. */
  constructor(maximumSizeBytes: number, perInstanceName = false) {
    this.#perInstanceName = perInstanceName;
    this.#pieces = new LRUCache({
      maxSize: Math.max(1, maximumSizeBytes),
      dispose: (_piece, _key, reason) => {
        this.#evictions += reason === "evict" ? 1 : 0;
      },
    });
  }

  get sizeBytes(): number {
    return this.#pieces.calculatedSize;
  }

  /** What was dropped for want of room. */
  get evictions(): number {
    return this.#evictions;
  }

  /**
   * This is the hot path, so the key is the digest's own string, whose hash code the engine keeps. Of two blobs
   * with the same hash by different functions only one is cached.
   */
  blob(digest: Digest): Uint8Array | undefined {
    const piece = this.#pieces.get(this.#perInstanceName ? instanceKey(digest) : digest.hash);
    return piece !== undefined &&
      piece.function === digest.function &&
      piece.content.length === digest.sizeBytes
      ? piece.content
      : undefined;
  }

  setBlob(digest: Digest, content: Uint8Array): void {
    const key = this.#perInstanceName ? instanceKey(digest) : unshared(digest.hash);
    this.#set(key, digest.function, content);
  }

  chunk(key: ChunkKey): Uint8Array | undefined {
    return this.#pieces.get(key)?.content;
  }

  setChunk(key: ChunkKey, content: Uint8Array): void {
    this.#set(key, undefined, content);
  }

  deleteChunk(key: ChunkKey): void {
    this.#pieces.delete(key);
  }

  clear(): void {
    this.#pieces.clear();
  }

  #set(key: string | ChunkKey, digestFunction: DigestFunction | undefined, content: Uint8Array): void {
    this.#pieces.set(key, { function: digestFunction, content }, { size: content.length + OVERHEAD_BYTES });
  }
}

function instanceKey({ hash, instanceName }: Digest): string {
  return `${hash} ${instanceName}`;
}

/** A hash is often a slice of a whole directory's text, which a key must not keep in memory. */
function unshared(hash: string): string {
  return Buffer.from(hash, "latin1").toString("latin1");
}
