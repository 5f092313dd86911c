import type { Log } from "../../telemetry/log.ts";
import type { Block, RingSizes } from "./block-ring.ts";
import type { EntryLocation } from "./key-location-map.ts";
import type { EntryKey, Frame } from "./layout.ts";
import type { BlocksLocation } from "./open-device.ts";

/** Buildbarn's `LocalBlobAccessConfiguration`. */
export interface LocalStoreOptions extends RingSizes {
  readonly blocks: BlocksLocation;
  /** Blocks beyond those of the ring, for what is still being read when its block must go. */
  readonly spareBlocks: number;
  readonly keyLocationMap: {
    /** How many entries the map has room for. It takes memory only for those that there are. */
    readonly maximumEntries: number;
    /** At most 255. */
    readonly maximumGetAttempts: number;
    readonly maximumPutAttempts: number;
  };
  /** Without it, what an earlier run left is given up. Not for blocks in memory. */
  readonly persistent:
    | { readonly stateDirectoryPath: string; readonly minimumEpochIntervalMilliseconds: number }
    | undefined;
  /** How long content that was found to be right is not checked again; with 0, it is whenever it is read. */
  readonly trustMilliseconds: number;
  /** Whether a blob that was stored for an instance name is there only for that and those below it. */
  readonly hierarchicalInstanceNames: boolean;
}

export interface LocalStoreContext {
  /** Overwrites whatever is there. */
  readonly reformat?: boolean;
  readonly log?: Log | undefined;
  /** Milliseconds, never going back. */
  readonly now?: () => number;
}

/** An entry that was found. Good for the current tick; longer with a lease. */
export interface StoredEntry {
  readonly key: EntryKey;
  readonly location: EntryLocation;
  readonly block: Block;
  /** Not checked yet, or not for long; or about to be given up unless it is copied. */
  readonly mustReadWhole: boolean;
}

export interface NewEntry {
  readonly key: EntryKey;
  /** With its check set. The store fills in the rest of its header; its content must not change any more. */
  readonly frame: Frame;
  readonly contentBytes: number;
}
