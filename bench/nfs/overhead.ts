/**
 * `node bench/nfs/overhead.ts [SECONDS [ROUNDS]]`: the server's CPU per operation where its operations are counted and timed,
 * and a scraper reads all metrics once a second, beside that of the same server without. Interleaved; the median of the rounds, and of
 * the rounds' ratios. Spans are on no operation's way.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileLoad, measure, startNode } from "./target.ts";

const KINDS = ["getattr", "lookup", "read4k", "openclose"];
const DEPTH = 16;

const seconds = Number(process.argv[2] ?? 1);
const rounds = Number(process.argv[3] ?? 11);
const directory = mkdtempSync(join(tmpdir(), "bench-nfs-"));
const load = join(directory, "load");
compileLoad(load);
const counted = await startNode("overhead-server.ts", "counted");
const uncounted = await startNode("overhead-server.ts", "uncounted");
try {
  console.log(
    `${"operation".padEnd(12)}${"without µs".padStart(12)}${"with µs".padStart(12)}${"ratio".padStart(8)}`,
  );
  for (const kind of KINDS) {
    const readings = Array.from({ length: rounds + 1 }, (_, round) => {
      const order = round % 2 === 0 ? [counted, uncounted] : [uncounted, counted];
      const cpu = new Map(
        order.map((target) => [
          target,
          measure(target, target.ports[0]!, kind, { load, seconds, depth: DEPTH }, 1).cpu,
        ]),
      );
      return { with: cpu.get(counted)!, without: cpu.get(uncounted)! };
      // The first round compiles.
    }).slice(1);
    const of = (value: (reading: (typeof readings)[number]) => number) => median(readings.map(value));
    console.log(
      kind.padEnd(12) +
        of((reading) => reading.without)
          .toFixed(2)
          .padStart(12) +
        of((reading) => reading.with)
          .toFixed(2)
          .padStart(12) +
        of((reading) => reading.with / reading.without)
          .toFixed(3)
          .padStart(8),
    );
  }
} finally {
  for (const { process: child } of [counted, uncounted]) {
    const ended = once(child, "exit");
    child.kill("SIGKILL");
    await ended;
  }
  rmSync(directory, { recursive: true, force: true });
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}
