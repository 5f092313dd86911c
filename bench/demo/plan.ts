import type { PlainDigest } from "../plain-digest.ts";

/** What main.ts put into the CAS, told to run-actions.ts as JSON. */
export interface DemoPlan {
  readonly inputRoot: PlainDigest;
  readonly changedInputRoot: PlainDigest;
  /** The one file that differs between the two. */
  readonly changedFile: PlainDigest;
  readonly files: number;
  readonly directories: number;
  readonly bytes: number;
  /** "HASH-SIZE" of every file of both roots; what else is fetched are directories. */
  readonly fileKeys: readonly string[];
}
