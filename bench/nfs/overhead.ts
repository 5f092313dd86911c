/**
 * `node bench/nfs/overhead.ts [SECONDS [ROUNDS]]`: the server's CPU per operation where its operations are counted and timed,
 * and a scraper reads all metrics once a second, beside that of the same server without. Interleaved, each
 * round with new processes, as no two compile the same; the median of the rounds, and of the rounds' ratios. Spans are on
 * no operation's way.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Operation } from "../../src/nfs/protocol/operation.ts";
import { OperationStatistics } from "../../src/nfs/statistics.ts";
import { median } from "../median.ts";
import { compileLoad, measure, startNode, type Target } from "./target.ts";

const KINDS = ["getattr", "lookup", "read4k", "openclose"];
const DEPTH = 16;

const seconds = Number(process.argv[2] ?? 1);
const rounds = Number(process.argv[3] ?? 11);
const directory = mkdtempSync(join(tmpdir(), "bench-nfs-"));
const load = join(directory, "load");
compileLoad(load);
const ratios = new Map(KINDS.map((kind) => [kind, { with: [] as number[], without: [] as number[] }]));
try {
  for (let round = 0; round < rounds; round++) {
    const counted = await startNode("overhead-server.ts", "counted");
    const uncounted = await startNode("overhead-server.ts", "uncounted");
    const order = round % 2 === 0 ? [counted, uncounted] : [uncounted, counted];
    const cpu = (target: Target, kind: string, seconds: number) =>
      measure(target, target.ports[0]!, kind, { load, seconds, depth: DEPTH }, 1).cpu;
    for (const [kind, readings] of ratios) {
      for (const target of order) {
        cpu(target, kind, seconds / 2);
      }
      for (const target of order) {
        readings[target === counted ? "with" : "without"].push(cpu(target, kind, seconds));
      }
    }
    for (const { process: child } of order) {
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    }
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}
console.log(
  `${"operation".padEnd(12)}${"without µs".padStart(12)}${"with µs".padStart(12)}${"ratio".padStart(8)}`,
);
for (const [kind, readings] of ratios) {
  const each = readings.with.map((value, round) => value / readings.without[round]!);
  console.log(
    kind.padEnd(12) +
      median(readings.without).toFixed(2).padStart(12) +
      median(readings.with).toFixed(2).padStart(12) +
      median(each).toFixed(3).padStart(8),
  );
}

console.log(`\ncounting alone: ${countingNanoseconds().toFixed(1)} ns for each operation of a request`);

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
