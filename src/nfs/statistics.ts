import { LAST_OPERATION, OPERATION_COUNT, Operation, type OperationName } from "./protocol/operation.ts";
import { Status } from "./protocol/status.ts";

const MINOR_VERSIONS = LAST_OPERATION.length;
/** ILLEGAL is counted where no operation is. */
const ILLEGAL = 0;

/** Upper bounds of the buckets of durations, in seconds: from 10 µs to 10 s, three for each power of ten. */
export const DURATION_BOUNDS: readonly number[] = Array.from(
  { length: 6 * 3 + 1 },
  (_, step) => Number((10 ** (step / 3)).toFixed(4)) / 100_000,
);
const BOUNDS_MILLISECONDS = Float64Array.from(DURATION_BOUNDS, (bound) => bound * 1000);
const BUCKETS = DURATION_BOUNDS.length + 1;

/** Of so many compounds, the operations of one are timed. */
const TIMED_COMPOUNDS = 16;

/** The calls of an operation in one minor version that ended with one status. */
export interface OperationCount {
  readonly operation: OperationName;
  readonly minorVersion: number;
  /** Without NFS4ERR_; "OK". Of a number that is no status, the number. */
  readonly status: string;
  readonly count: number;
}

/** How long an operation took in one minor version. */
export interface OperationDurations {
  readonly operation: OperationName;
  readonly minorVersion: number;
  /** By {@link DURATION_BOUNDS}, and at the end those that took longer. */
  readonly buckets: readonly number[];
  readonly seconds: number;
}

/**
 * What a server's operations did, in plain numbers. Where the clock costs a system call, reading it for each operation
 * would take longer than many of them do: those that must wait are all timed, of the others one compound in
 * {@link TIMED_COMPOUNDS}, which then counts for as many.
 */
export class OperationStatistics {
  bytesRead = 0;
  bytesWritten = 0;
  delegationsRecalled = 0;
  /** Operations whose replies are held back now, since they must wait for the file system. */
  held = 0;
  /** Of all operations so far that had to wait. */
  heldTotal = 0;
  heldSeconds = 0;
  readonly #succeeded = new Float64Array(MINOR_VERSIONS * OPERATION_COUNT);
  /** By index times {@link STATUSES}, plus status. */
  readonly #failed = new Map<number, number>();
  readonly #buckets = new Float64Array(MINOR_VERSIONS * OPERATION_COUNT * BUCKETS);
  readonly #milliseconds = new Float64Array(MINOR_VERSIONS * OPERATION_COUNT);
  #untilTimed = 0;

  /** Whether the operations of the compound that begins are to be timed. */
  get timesNext(): boolean {
    if (this.#untilTimed === 0) {
      this.#untilTimed = TIMED_COMPOUNDS - 1;
      return true;
    }
    this.#untilTimed--;
    return false;
  }

  ended(minorVersion: number, operation: number, status: number): void {
    const index = indexOf(minorVersion, operation);
    if (status === Status.OK) {
      this.#succeeded[index]!++;
    } else {
      const key = index * STATUSES + status;
      this.#failed.set(key, (this.#failed.get(key) ?? 0) + 1);
    }
  }

  /** An operation that was answered in the same tick, of a compound that is timed. */
  took(minorVersion: number, operation: number, milliseconds: number): void {
    this.#observe(indexOf(minorVersion, operation), milliseconds, TIMED_COMPOUNDS);
  }

  /** An operation begins to wait. */
  waits(): void {
    this.held++;
    this.heldTotal++;
  }

  waited(minorVersion: number, operation: number, milliseconds: number): void {
    this.held--;
    this.heldSeconds += milliseconds / 1000;
    this.#observe(indexOf(minorVersion, operation), milliseconds, 1);
  }

  *counts(): Iterable<OperationCount> {
    for (const [index, count] of this.#succeeded.entries()) {
      if (count > 0) {
        yield { ...nameOf(index), status: "OK", count };
      }
    }
    for (const [key, count] of this.#failed) {
      const status = key % STATUSES;
      yield {
        ...nameOf(Math.floor(key / STATUSES)),
        status: STATUS_NAMES.get(status) ?? String(status),
        count,
      };
    }
  }

  *durations(): Iterable<OperationDurations> {
    for (const [index, milliseconds] of this.#milliseconds.entries()) {
      const buckets = Array.from(this.#buckets.subarray(index * BUCKETS, (index + 1) * BUCKETS));
      if (buckets.some((count) => count > 0)) {
        yield { ...nameOf(index), buckets, seconds: milliseconds / 1000 };
      }
    }
  }

  /** How often each operation was called, with whatever result. */
  calls(): Partial<Record<OperationName, number>> {
    const calls: Partial<Record<OperationName, number>> = {};
    for (const { operation, count } of this.counts()) {
      calls[operation] = (calls[operation] ?? 0) + count;
    }
    return calls;
  }

  #observe(index: number, milliseconds: number, weight: number): void {
    let bucket = 0;
    while (bucket < BUCKETS - 1 && milliseconds > BOUNDS_MILLISECONDS[bucket]!) {
      bucket++;
    }
    this.#buckets[index * BUCKETS + bucket]! += weight;
    this.#milliseconds[index]! += milliseconds * weight;
  }
}

/** Above all of nfsstat4. */
const STATUSES = 16_384;

const STATUS_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(Status).map(([name, number]) => [number, name]),
);

const OPERATION_NAMES: ReadonlyMap<number, OperationName> = new Map(
  (Object.keys(Operation) as OperationName[]).map((name) => [
    name === "ILLEGAL" ? ILLEGAL : Operation[name],
    name,
  ]),
);

function indexOf(minorVersion: number, operation: number): number {
  return minorVersion * OPERATION_COUNT + (operation === Operation.ILLEGAL ? ILLEGAL : operation);
}

function nameOf(index: number): { operation: OperationName; minorVersion: number } {
  return {
    operation: OPERATION_NAMES.get(index % OPERATION_COUNT)!,
    minorVersion: Math.floor(index / OPERATION_COUNT),
  };
}
