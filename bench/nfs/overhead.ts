/**
 * `node bench/nfs/overhead.ts [ROUNDS]`: the server's CPU per operation where its operations are counted and
 * timed, a scraper reads all metrics twice a second, and one action in a hundred is traced, beside that of the same server
 * without (overhead-server.ts). Each round has new processes, as no two compile the same, which are measured in turns for each
 * kind of request; what counts is each one's best reading, as others who use the machine only make readings worse.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Operation } from "../../src/nfs/protocol/operation.ts";
import { OperationStatistics } from "../../src/nfs/statistics.ts";
import { median } from "../median.ts";
import { threadsCpuSeconds } from "../process-usage.ts";
import { formatTable } from "../table.ts";
import { compileLoad, measure, startNode, type Target } from "./target.ts";

const KINDS = ["getattr", "lookup", "read4k", "openclose"];
const DEPTH = 16;
/** Before the first reading of a kind, so that its code is compiled. */
const WARM_UP_SECONDS = 1;
/** Readings of each process, of which the best counts. */
const TURNS = 6;
/** Of a reading: each has a scrape. */
const SECONDS = 0.5;

/** Microseconds of CPU per operation in one round. */
interface Round {
  readonly with: number;
  readonly without: number;
}

/** Of fewer, no interval has the median by 95%. */
const FEWEST_ROUNDS = 6;

const rounds = Number(process.argv[2] ?? 15);
if (!(rounds >= FEWEST_ROUNDS)) {
  throw new Error(`${process.argv[2]}: give at least ${FEWEST_ROUNDS} rounds`);
}
const directory = mkdtempSync(join(tmpdir(), "bench-nfs-"));
const load = join(directory, "load");
compileLoad(load);
const readings = new Map(KINDS.map((kind) => [kind, [] as Round[]]));
try {
  for (let round = 0; round < rounds; round++) {
    await using watched = await start("watched");
    await using bare = await start("bare");
    for (const [kind, ofKind] of readings) {
      ofKind.push(measureRound(watched.target, bare.target, kind, round % 2 === 0));
    }
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
const together = Array.from({ length: rounds }, (_, round) => {
  const logarithms = KINDS.map((kind) => Math.log(ratio(readings.get(kind)![round]!)));
  return Math.exp(logarithms.reduce((sum, value) => sum + value, 0) / KINDS.length);
});
console.log(
  formatTable(
    ["operation", "without, µs", "with, µs", "ratio", "95%", "half of the rounds"],
    [
      ...[...readings].map(([kind, ofKind]) => [
        kind,
        median(ofKind.map(({ without }) => without)).toFixed(2),
        median(ofKind.map((each) => each.with)).toFixed(2),
        ...spread(ofKind.map(ratio)),
      ]),
      ["together", "", "", ...spread(together)],
    ],
  ),
);
console.log(
  `\n${rounds} rounds. The ratio is the median of the rounds' ratios, and its true value by 95% where the next column says.`,
);
console.log(`Counting alone: ${countingNanoseconds().toFixed(1)} ns for each operation of a request.`);

async function start(mode: string): Promise<AsyncDisposable & { readonly target: Target }> {
  const target = await startNode("overhead-server.ts", mode);
  return {
    target,
    async [Symbol.asyncDispose]() {
      const ended = once(target.process, "exit");
      target.process.kill("SIGKILL");
      await ended;
    },
  };
}

function measureRound(watched: Target, bare: Target, kind: string, watchedFirst: boolean): Round {
  const cpu = (target: Target, seconds: number) =>
    measure(target, target.ports[0]!, kind, { load, seconds, depth: DEPTH }, 1, threadsCpuSeconds).cpu;
  const best = new Map([
    [watched, Number.POSITIVE_INFINITY],
    [bare, Number.POSITIVE_INFINITY],
  ]);
  const [first, second] = watchedFirst ? [watched, bare] : [bare, watched];
  cpu(first, WARM_UP_SECONDS);
  cpu(second, WARM_UP_SECONDS);
  for (let turn = 0; turn < TURNS; turn++) {
    for (const target of [first, second]) {
      best.set(target, Math.min(best.get(target)!, cpu(target, SECONDS)));
    }
  }
  return { with: best.get(watched)!, without: best.get(bare)! };
}

function ratio({ with: watched, without }: Round): number {
  return watched / without;
}

/** The median, an interval that has the true one by 95%, whatever the distribution, and the quartiles. */
function spread(values: readonly number[]): readonly string[] {
  const sorted = values.toSorted((a, b) => a - b);
  const last = sorted.length - 1;
  // So many values lie on either side of the interval, by the normal approximation of the sign test.
  const outside = Math.max(0, Math.floor((sorted.length - 1.96 * Math.sqrt(sorted.length)) / 2));
  const range = (skipped: number) =>
    `${sorted[skipped]!.toFixed(3)} to ${sorted[last - skipped]!.toFixed(3)}`;
  return [median(values).toFixed(3), range(outside), range(sorted.length >> 2)];
}

/** What counting and timing costs an operation, less an empty loop: tells more than the above where others use the machine. */
function countingNanoseconds(): number {
  const statistics = new OperationStatistics();
  const operations = [Operation.SEQUENCE, Operation.PUTFH, Operation.GETATTR];
  const requests = 20_000;
  const time = (work: () => void): number => {
    const startedAt = performance.now();
    for (let request = 0; request < requests; request++) {
      work();
    }
    return ((performance.now() - startedAt) * 1e6) / requests / operations.length;
  };
  let sum = 0;
  const costs = Array.from({ length: 401 }, () => {
    const counted = time(() => {
      const isTimed = statistics.timesNext;
      let startedAt = isTimed ? performance.now() : 0;
      for (const operation of operations) {
        if (isTimed) {
          const now = performance.now();
          statistics.took(1, operation, now - startedAt);
          startedAt = now;
        }
        statistics.ended(1, operation, 0);
      }
    });
    const empty = time(() => {
      for (const operation of operations) {
        sum += operation;
      }
    });
    return counted - empty;
  });
  return sum > 0 ? median(costs) : 0;
}
