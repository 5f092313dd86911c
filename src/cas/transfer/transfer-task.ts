import type { BlobServer } from "../blob-server.ts";
import type { PortableDigest, PortableError } from "./portable.ts";
import type { RetryPolicy } from "./retry.ts";
import type { RandomAccess } from "./upload-source.ts";

/** What a thread of the transfer pool needs to know. Plain data. */
export interface TransferSettings {
  readonly servers: readonly BlobServer[];
  readonly retryPolicy: RetryPolicy;
}

/** Work for the transfer pool. `server` is an index in {@link TransferSettings.servers}. Plain data. */
export type TransferTask =
  /** Begins to connect to all servers; no other task waits for that. */
  | { readonly kind: "connect" }
  /**
   * Fetches blobs of one instance, small ones `together` in one message. They are handed over as soon as they are
   * there; the task ends when they are stored, too.
   */
  | {
      readonly kind: "fetchBlobs";
      readonly server: number;
      readonly together: boolean;
      readonly blobs: readonly Destined[];
    }
  /** Fetches part of a blob, in chunks that are handed over one by one. */
  | {
      readonly kind: "fetchRange";
      readonly server: number;
      readonly digest: PortableDigest;
      /** Multiple of `chunkSizeBytes`. */
      readonly offset: number;
      readonly length: number;
      readonly chunkSizeBytes: number;
      /** An existing file, in which the range is overwritten. */
      readonly path: string;
    }
  /** Moves a file to its destination if its content is what the digest names. */
  | {
      readonly kind: "verifyFile";
      readonly digest: PortableDigest;
      readonly path: string;
      readonly destination: string;
    }
  | { readonly kind: "findMissing"; readonly server: number; readonly digests: readonly PortableDigest[] }
  | {
      readonly kind: "uploadBatch";
      readonly server: number;
      readonly blobs: readonly { readonly digest: PortableDigest; readonly content: Uint8Array }[];
    }
  /** Stores the content of the context's source. */
  | { readonly kind: "upload"; readonly server: number; readonly digest: PortableDigest }
  /** Hashes it. */
  | {
      readonly kind: "hash";
      readonly function: number;
      readonly hashLength: number;
      readonly sizeBytes: number;
    };

/** A blob, the file that is to hold it, and a path for that file until it is complete. */
export interface Destined {
  readonly digest: PortableDigest;
  readonly temporaryPath: string;
  readonly path: string;
}

/** A blob that was fetched and verified, or why it was not. */
export type Fetched = Uint8Array<ArrayBuffer> | PortableError;

export interface TransferResults {
  connect: undefined;
  /** For each blob, whether it is in its file. */
  fetchBlobs: readonly boolean[];
  fetchRange: undefined;
  verifyFile: undefined;
  findMissing: readonly PortableDigest[];
  uploadBatch: readonly (PortableError | undefined)[];
  upload: undefined;
  hash: string;
}

/** What a task has from its caller beside data. */
export interface TransferContext {
  readonly signal?: AbortSignal | undefined;
  /** What upload and hash read. */
  readonly source?: RandomAccess | undefined;
  /** Takes the blobs of a fetchBlobs, in their order. */
  readonly blobs?: ((blobs: readonly Fetched[]) => void) | undefined;
  /** Takes chunks of a fetchRange; `stored` says whether the chunk is in the file, too. */
  readonly chunk?: ((index: number, content: Uint8Array<ArrayBuffer>, stored: boolean) => void) | undefined;
}
