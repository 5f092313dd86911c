/** What a file takes at least. */
const BLOCK_BYTES = 4096;

/** The bytes of storage that a blob counts for. */
export function storedBytes(sizeBytes: number): number {
  return Math.ceil(sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
}

/** The blobs of a store by their keys, from the one that was used longest ago to the latest, and what they take. */
export class KnownBlobs {
  /** A Map keeps the order in which its keys were added. */
  readonly #bytesByKey = new Map<string, number>();
  #bytes = 0;

  /** Of all blobs together. */
  get bytes(): number {
    return this.#bytes;
  }

  get count(): number {
    return this.#bytesByKey.size;
  }

  add(key: string, sizeBytes: number): void {
    this.delete(key);
    const bytes = storedBytes(sizeBytes);
    this.#bytesByKey.set(key, bytes);
    this.#bytes += bytes;
  }

  /** Whether the blob is known; it then counts as just used. */
  use(key: string): boolean {
    const bytes = this.#bytesByKey.get(key);
    if (bytes === undefined) {
      return false;
    }
    this.#bytesByKey.delete(key);
    this.#bytesByKey.set(key, bytes);
    return true;
  }

  delete(key: string): void {
    this.#bytes -= this.#bytesByKey.get(key) ?? 0;
    this.#bytesByKey.delete(key);
  }

  /** From the one that was used longest ago on. */
  keys(): Iterable<string> {
    return this.#bytesByKey.keys();
  }
}
