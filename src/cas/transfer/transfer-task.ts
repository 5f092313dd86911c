import type { SharedCallCounts } from "../../grpc/calls/counts.ts";
import type { KubernetesResolverSettings } from "../../grpc/kubernetes/resolver.ts";
import type { BlobServer } from "../blob-server.ts";
import type { Frame, Identity } from "../local/layout.ts";
import type { PortableDigest, PortableError } from "./portable.ts";
import type { RetryPolicy } from "./retry.ts";
import type { RandomAccess } from "./upload-source.ts";

/** What a thread of the transfer pool needs to know. Plain data. */
export interface TransferSettings {
  readonly servers: readonly BlobServer[];
  readonly retryPolicy: RetryPolicy;
  /** Of the local store that fetched blobs are for. */
  readonly storeIdentity: Identity;
  /** Where calls are counted, if they are. */
  readonly callCounts?: SharedCallCounts | undefined;
  /** By which the threads' channels look up addresses. */
  readonly kubernetesResolvers?: readonly KubernetesResolverSettings[] | undefined;
}

/** Work for the transfer pool. `server` is an index in {@link TransferSettings.servers}. Plain data. */
export type TransferTask =
  /** Begins to connect to all servers; no other task waits for that. */
  | { readonly kind: "connect" }
  /** Fetches blobs of one instance, small ones `together` in one message. */
  | {
      readonly kind: "fetchBlobs";
      readonly server: number;
      readonly together: boolean;
      readonly digests: readonly PortableDigest[];
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
    }
  /**
   * Succeeds if pieces of a file, one after the other, are what the digest names. Those that the thread has received
   * itself, with the same checks, have been hashed already, and are not read.
   */
  | {
      readonly kind: "verifyPieces";
      readonly digest: PortableDigest;
      readonly path: string;
      readonly chunkSizeBytes: number;
      /** Of the pieces, one after the other. */
      readonly checks: Uint8Array;
      readonly pieces: readonly { readonly position: number; readonly length: number }[];
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

/** A blob that was fetched and verified, as a frame for the local store, perhaps with others in its buffer; or why not. */
export type Fetched = Uint8Array<ArrayBuffer> | PortableError;

export interface TransferResults {
  connect: undefined;
  /** In the order of the digests. */
  fetchBlobs: readonly Fetched[];
  fetchRange: undefined;
  verifyPieces: undefined;
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
  /** Takes the chunks of a fetchRange, as frames for the local store. */
  readonly chunk?: ((index: number, frame: Frame) => void) | undefined;
}
