import type { InputSource } from "../../cas/input-source.ts";
import type { FileSystemError } from "../../nfs/file-system.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { Fault } from "../faults.ts";
import type { Quota } from "../quota.ts";
import type { WriteSpace } from "./own-bytes.ts";

/** Where content comes from and goes to; one for the whole tree. */
export interface ContentPlaces extends WriteSpace {
  readonly source: InputSource;
}

/** Whom the content is charged to, and who is told when it cannot be had. */
export interface ContentAccount {
  readonly quota: Quota;
  /** How many of its files clients have open, or hold a delegation of. */
  openFiles: number;
  report(fault: Fault): void;
  /** STALE, for a change that comes after the end of its file, as what the kernel writes back late does. */
  tooLate(): FileSystemError;
  /** Somebody waits for storage until the promise settles. Returns it. */
  noteWait<T>(settled: Promise<T>, digest?: Digest): Promise<T>;
}
