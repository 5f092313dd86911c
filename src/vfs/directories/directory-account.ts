import type { CasFile } from "../cas-file.ts";
import type { ContentAccount } from "../content/content-places.ts";
import type { Owner } from "../owner.ts";
import type { LazyEntriesAccount } from "./lazy-entries.ts";
import type { LookAhead } from "./look-ahead.ts";

/** The build directory that a directory belongs to. Entries never move from one to another. */
export interface DirectoryAccount extends ContentAccount, LazyEntriesAccount {
  readonly owner: Owner;
  readonly lookAhead: LookAhead;
  /** The action has got the handle of this file, and may read it. */
  noteKnown(file: CasFile): void;
}
