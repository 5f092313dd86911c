import { setImmediate } from "node:timers/promises";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { digestKey } from "../../reapi/digest.ts";
import {
  checkOf,
  contentOf,
  type EntryKey,
  frameOf,
  type Identity,
  newFrame,
  partKey,
  setCheck,
} from "../local/layout.ts";
import type { LocalStore } from "../local/local-store.ts";
import type { StoredEntry } from "../local/options.ts";
import { fromPortable, type PortableDigest, type PortableError } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import { piecesOf, type RandomAccess } from "../transfer/upload-source.ts";
import { verifyHash } from "../transfer/verify.ts";
import {
  type BlobAccess,
  portable,
  type RangeTask,
  type Run,
  type SmallUpload,
  type TakeChunk,
} from "./blob-access.ts";

/** What a blob is kept in pieces of, where blocks are not much smaller. */
const LARGEST_PIECE_BYTES = 2 * 1024 * 1024;
/** So that little is left over at the end of a block. */
const PIECES_PER_BLOCK = 4;

/**
 * Blobs on this machine, as Buildbarn's `local` backend keeps them. Those that do not fit into a piece are kept in several,
 * and are there as long as all of these are. What is asked for is kept longer: it is copied out of blocks that will be
 * given up soon.
 */
export class LocalBackend implements BlobAccess {
  readonly #store: LocalStore;
  readonly #pieceBytes: number;
  readonly #readerIdentity: Identity;

  /** What is fetched is for the store with the identity. */
  constructor(store: LocalStore, readerIdentity: Identity) {
    this.#store = store;
    this.#readerIdentity = readerIdentity;
    const fitting = Math.floor(store.maximumContentBytes / PIECES_PER_BLOCK);
    this.#pieceBytes = Math.max(1, Math.min(LARGEST_PIECE_BYTES, fitting));
  }

  async fetchBlobs(_run: Run, digests: readonly PortableDigest[]): Promise<readonly Fetched[]> {
    return Promise.all(
      digests.map(async (digest) => {
        try {
          return frameOf(await this.#read(digest, 0, digest.sizeBytes), this.#readerIdentity);
        } catch (error) {
          return portable(error, "local");
        }
      }),
    );
  }

  async fetchRange(
    _run: Run,
    { digest, offset, length, chunkSizeBytes }: RangeTask,
    chunk: TakeChunk,
    signal?: AbortSignal,
  ): Promise<void> {
    const end = offset + length;
    for (let start = offset; start < end; start += chunkSizeBytes) {
      signal?.throwIfAborted();
      try {
        const content = await this.#read(digest, start, Math.min(chunkSizeBytes, end - start));
        chunk(start / chunkSizeBytes, frameOf(content, this.#readerIdentity));
      } catch (error) {
        // Whoever has taken something does not begin elsewhere.
        throw start === offset ? error : new BlobError(Code.UNAVAILABLE, "part of it was given up meanwhile");
      }
    }
  }

  async findMissing(
    _run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    const missing: PortableDigest[] = [];
    for (const digest of digests) {
      signal?.throwIfAborted();
      if (!(await this.#keep(digest))) {
        missing.push(digest);
      }
    }
    return missing;
  }

  async uploadBatch(
    run: Run,
    blobs: readonly SmallUpload[],
    signal?: AbortSignal,
  ): Promise<readonly (PortableError | undefined)[]> {
    return Promise.all(
      blobs.map(({ digest, content }) => {
        const source = { read: (offset: number, count: number) => content.subarray(offset, offset + count) };
        return this.upload(run, digest, source, signal).then(
          () => undefined,
          (error: unknown) => portable(error, "local"),
        );
      }),
    );
  }

  /** Hashes what it is given, as the content may have changed since it was hashed. */
  async upload(_run: Run, digest: PortableDigest, source: RandomAccess, signal?: AbortSignal): Promise<void> {
    const hash = fromPortable(digest).function.createHash(digest.sizeBytes);
    const put: (readonly EntryKey[])[] = [];
    try {
      for (const [index, { length, keys }] of this.#pieces(digest).entries()) {
        signal?.throwIfAborted();
        const frame = newFrame(length);
        const content = contentOf(frame, length);
        let filled = 0;
        const offset = index * this.#pieceBytes;
        for await (const part of piecesOf(source, offset, offset + length, length)) {
          content.set(part, filled);
          filled += part.length;
        }
        hash.update(content);
        setCheck(frame, checkOf(content, this.#store.identity));
        put.push(keys);
        if (!(await this.#store.put([{ key: keys[0]!, frame, contentBytes: length }]))) {
          throw new BlobError(Code.UNAVAILABLE, "the blob cannot be written to the local blocks");
        }
        // A source in memory would leave nobody else a turn.
        await setImmediate();
      }
      verifyHash(fromPortable(digest), hash.digest("hex"));
    } catch (error) {
      for (const keys of put) {
        this.#store.delete(keys);
      }
      throw error;
    }
    if (!(await this.#keep(digest))) {
      throw new BlobError(
        Code.INVALID_ARGUMENT,
        `the blob has ${digest.sizeBytes} bytes, which do not fit into the local blocks`,
      );
    }
  }

  /** The lengths and keys of what the blob is kept in. */
  #pieces(
    digest: PortableDigest,
  ): readonly { readonly length: number; readonly keys: readonly EntryKey[] }[] {
    const { sizeBytes, instanceName } = digest;
    const name = digestKey(fromPortable(digest));
    if (sizeBytes <= this.#pieceBytes) {
      return [{ length: sizeBytes, keys: this.#store.keysOf(name, instanceName) }];
    }
    const keys = this.#store.keysOf(`${name} in pieces of ${this.#pieceBytes}`, instanceName);
    return Array.from({ length: Math.ceil(sizeBytes / this.#pieceBytes) }, (_, index) => ({
      length: Math.min(this.#pieceBytes, sizeBytes - index * this.#pieceBytes),
      keys: keys.map((key) => partKey(key, index)),
    }));
  }

  /** Whether all of the blob is there, and will be for a while. */
  async #keep(digest: PortableDigest): Promise<boolean> {
    for (const { length, keys } of this.#pieces(digest)) {
      const entry = this.#store.find(keys, length);
      if (entry === undefined || (entry.mustReadWhole && (await this.#whole(entry)) === undefined)) {
        return false;
      }
    }
    return true;
  }

  async #read(digest: PortableDigest, offset: number, length: number): Promise<Uint8Array> {
    const content = new Uint8Array(length);
    const pieces = this.#pieces(digest);
    const end = offset + length;
    const first = Math.floor(offset / this.#pieceBytes);
    for (
      let index = first;
      index < pieces.length && (index === first || index * this.#pieceBytes < end);
      index++
    ) {
      const { length: pieceLength, keys } = pieces[index]!;
      const entry = this.#store.find(keys, pieceLength);
      const piece = entry && (await this.#whole(entry));
      if (piece === undefined) {
        throw new BlobError(Code.NOT_FOUND, "Object not found");
      }
      const start = index * this.#pieceBytes;
      const part = piece.subarray(Math.max(0, offset - start), Math.max(0, end - start));
      content.set(part, Math.max(0, start - offset));
    }
    return content;
  }

  async #whole(entry: StoredEntry): Promise<Uint8Array | undefined> {
    return this.#store.readWhole(entry);
  }
}
