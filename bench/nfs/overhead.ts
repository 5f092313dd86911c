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

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
