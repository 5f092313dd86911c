/**
 * src/cas beside bare grpc-js, against the same storage, which is a process of its own on this machine:
 *
 *     node bench/cas/cas.ts [--rounds 9] [--threads N] [--beside TREE] [--only WORK] [--compression none|zstd]
 *
 * Each side is a process of its own, too: they take turns, `--rounds` times, and the table shows the medians of what a
 * blob or a MiB took in time and in CPU of all threads, with the ratios to bare grpc-js. With `--beside`, the storage
 * client of another checkout is one more side.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import path from "node:path";
import { parseArgs } from "node:util";
import { median } from "../median.ts";
import type { PlainDigest } from "../plain-digest.ts";
import { formatTable } from "../table.ts";
import type { Cost, SideSettings, Work } from "./side-messages.ts";
import type { StorageContents, StorageReady } from "./storage-process.ts";

const MiB = 1024 * 1024;
const LARGE_BYTES = 64 * MiB;
/** By concurrency, how many small blobs are read in one round. */
const SMALL_COUNTS = new Map([
  [1, 200],
  [8, 400],
  [64, 1280],
]);
const WARM_UP = 640;
const WARM_UP_ROUND = -1;

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "9" },
    threads: { type: "string" },
    beside: { type: "string" },
    only: { type: "string", default: "" },
    compression: { type: "string" },
  },
});
const rounds = Number(values.rounds);
const perRound = [...SMALL_COUNTS.values()].reduce((sum, count) => sum + count, 0);
const contents: StorageContents = {
  smallCount: WARM_UP * SMALL_COUNTS.size + rounds * perRound,
  smallBytes: 4096,
  largeCount: rounds + 1,
  largeBytes: LARGE_BYTES,
};
const storage = fork(new URL("storage-process.ts", import.meta.url), [JSON.stringify(contents)]);
const { address, small, large } = (await answer(storage)) as StorageReady;

interface Side {
  readonly name: string;
  readonly process: ChildProcess;
}

async function start(name: string, settings: Omit<SideSettings, "address">): Promise<Side> {
  const process = fork(new URL("side.ts", import.meta.url), [JSON.stringify({ address, ...settings })]);
  await answer(process);
  return { name, process };
}

/** The next message; rejects if the process ends instead. */
async function answer(process: ChildProcess): Promise<unknown> {
  const ended = new AbortController();
  const exit = once(process, "exit", { signal: ended.signal }).then(([code]) => {
    throw new Error(`a process has ended with ${code}; what it said is above`);
  });
  try {
    const [message] = await Promise.race([once(process, "message", { signal: ended.signal }), exit]);
    return message;
  } finally {
    exit.catch(() => {});
    ended.abort();
  }
}

/** For each kind of transport, bare grpc-js first. */
async function startSides(compression: boolean): Promise<Side[]> {
  const own = path.resolve(import.meta.dirname, "../..");
  const threads = values.threads === undefined ? {} : { threads: Number(values.threads) };
  const sides = [
    await start("grpc-js", { compression }),
    await start("src/cas", { compression, tree: own, ...threads }),
  ];
  if (values.beside !== undefined) {
    sides.push(await start(values.beside, { compression, tree: path.resolve(values.beside), ...threads }));
  }
  return sides;
}

/** What of one kind of work is measured, by side. */
type Costs = Map<Side, Cost[]>;

async function takeTurns(sides: readonly Side[], work: Work, costs: Costs): Promise<void> {
  for (const side of sides) {
    side.process.send(work);
    const cost = (await answer(side.process)) as Cost;
    costs.set(side, [...(costs.get(side) ?? []), cost]);
  }
}

/** The row of one kind of work: for each side its figure, for all but the first with the ratio to that. */
function row(
  name: string,
  sides: readonly Side[],
  costs: Costs,
  figure: (cost: Cost) => number,
  digits = 0,
): string[] {
  const medians = sides.map((side) => median(costs.get(side)!.map(figure)));
  return [
    name,
    ...medians.flatMap((value, index) =>
      index === 0 ? [value.toFixed(digits)] : [value.toFixed(digits), (value / medians[0]!).toFixed(2)],
    ),
  ];
}

const perSecond = ({ units, milliseconds }: Cost) => units / (milliseconds / 1000);
const cpu = ({ units, cpuMilliseconds }: Cost) => (cpuMilliseconds * 1000) / units;

/** The kinds of work, by what they are called in the table and by `--only`, with how often each is done in a round. */
function works(
  compression: boolean,
  take: (count: number) => PlainDigest[],
): Map<string, (round: number) => Work> {
  const all = new Map<string, (round: number) => Work>();
  for (const [concurrency, count] of SMALL_COUNTS) {
    all.set(`small blobs, ${concurrency} at a time`, (round) => ({
      kind: "small",
      concurrency,
      digests: take(round === WARM_UP_ROUND ? WARM_UP : count),
    }));
  }
  if (!compression) {
    // Large blobs are never compressed on their way here.
    all.set("large blob, sequential", (round) => ({ kind: "large", digest: large[round + 1]! }));
  }
  all.set("hash and upload", (round) => ({
    kind: "upload",
    sizeBytes: round === WARM_UP_ROUND ? 8 * MiB : LARGE_BYTES,
  }));
  return all;
}

async function compare(compression: boolean): Promise<void> {
  const sides = await startSides(compression);
  let taken = 0;
  const take = (count: number) => {
    taken += count;
    return small.slice(taken - count, taken);
  };
  const wanted = [...works(compression, take)].filter(([name]) => name.includes(values.only));
  const measured = wanted.map(([name, work]) => ({ name, work, costs: new Map<Side, Cost[]>() }));
  for (const { work } of measured) {
    await takeTurns(sides, work(WARM_UP_ROUND), new Map());
  }
  for (let round = 0; round < rounds; round++) {
    for (const { work, costs } of measured) {
      await takeTurns(sides, work(round), costs);
    }
  }
  const rows = measured.flatMap(({ name, costs }) => {
    const unit = name.startsWith("small") ? "blob" : "MiB";
    return [
      row(`${name}: ${unit}s per second`, sides, costs, perSecond),
      row(`  µs of CPU of one ${unit}`, sides, costs, cpu),
    ];
  });
  const { costs } = measured.at(-1)!;
  rows.push(row("RSS, MiB", sides, costs, ({ rss }) => rss));
  const header = [
    compression ? "with zstd" : "without compression",
    ...sides.flatMap(({ name }, index) => (index === 0 ? [name] : [name, "ratio"])),
  ];
  console.log(`\n${formatTable(header, rows)}`);
  for (const { process } of sides) {
    process.disconnect();
  }
}

console.log(`Medians of ${rounds} rounds; small blobs have 4 KiB, large ones ${LARGE_BYTES / MiB} MiB.`);
for (const compression of values.compression === undefined
  ? [false, true]
  : [values.compression === "zstd"]) {
  await compare(compression);
}
storage.disconnect();
