import type { PlainDigest } from "../plain-digest.ts";

/** What a side is: bare grpc-js, or the storage client of a source tree. */
export interface SideSettings {
  readonly address: string;
  readonly compression: boolean;
  /** The root of a checkout, whose `src/cas` is used; absent for bare grpc-js. */
  readonly tree?: string;
  /** Transfer threads; absent for the default. */
  readonly threads?: number;
}

/** Work for a side. What it does not have (bare grpc-js has no cache) it answers with nothing. */
export type Work =
  /** Reads each blob once, so many at the same time. A unit is a blob. */
  | { readonly kind: "small"; readonly concurrency: number; readonly digests: readonly PlainDigest[] }
  /** Reads a blob from its beginning to its end. A unit is a MiB. */
  | { readonly kind: "large"; readonly digest: PlainDigest }
  /** Uploads a blob that storage does not have; a storage client hashes it first. A unit is a MiB. */
  | { readonly kind: "upload"; readonly sizeBytes: number };

/** What it took. */
export interface Cost {
  readonly units: number;
  readonly milliseconds: number;
  /** Of all threads of the side. */
  readonly cpuMilliseconds: number;
  /** MiB, when it was done. */
  readonly rss: number;
}
