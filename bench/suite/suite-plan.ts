import type { PlainDigest } from "../plain-digest.ts";

/** What main.ts tells inside.ts, as JSON. */
export interface SuitePlan {
  readonly quick: boolean;
  readonly runs: number;
  /** The folder of our programs, as `npm run package` makes it. */
  readonly programs: string;
  /** Names. Default: all. */
  readonly sides: readonly string[] | undefined;
  /** As `--peer` has them. */
  readonly peers: readonly string[];
  /** An input root for actions that do nothing. */
  readonly smallest: PlainDigest;
  /** What each scenario's `prepare` gave, by name. */
  readonly scenarios: Readonly<Record<string, unknown>>;
}
