/** `npm run endurance`: mixed load on both file systems, and whether they are as small after it as before. */
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { insideKernel, runInKernel } from "../../src/in-kernel/run-in-kernel.ts";
import { MountedFileSystem, sh } from "../kernel/mounted-file-systems.ts";
import { Random } from "../kernel/random.ts";
import { type Load, loads } from "./loads.ts";
import { Relay } from "./relay.ts";
import { RunnerKills } from "./runner-kills.ts";

const HELP = `Usage: npm run endurance [-- OPTION…]

Runs git, tar, make, locks, sparse files and, where they are there, dbench and fsx at the same time on the memory file
system (NFSv4.2) and the worker's tree (NFSv4.1) in one process, and cuts their connections now and then. Beside them a
worker runs actions whose results are known, and its runner is killed now and then. All load verifies itself. After each
quarter the directories are emptied, and what both processes hold is printed beside their state after a warm-up of one
turn: memory, descriptors, clients, states, delegations and nodes. Fails if load fails, an action is lost or wrong,
anything has grown, or a process, mount, socket, lock, key, control group or file is left behind.

  --minutes M   in all (default 60)
  --quarters N  in how many parts (default 4)
  --cut S       seconds between two cuts of the connections, at most (default 20; 0 for none)
  --kill S      seconds between two kills of the runner, at most (default 30; 0 for none)
  --seed N      for the actions, the cuts and the kills (default 1)
  --loads NAMES only these, separated by commas
  --fsx FILE    the program fsx, which xfstests builds as ltp/fsx
  --help        this text`;

const OPTIONS = {
  minutes: { type: "string", default: "60" },
  quarters: { type: "string", default: "4" },
  cut: { type: "string", default: "20" },
  kill: { type: "string", default: "30" },
  seed: { type: "string", default: "1" },
  loads: { type: "string" },
  fsx: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

/**
 * How much more the process may hold after a quarter than after the warm-up: what V8 and malloc keep in reserve; the 1 MiB
 * that each connection receives into; and what has been written into by the requests that waited at the same time.
 */
const ALLOWANCE_BYTES = { heap: 8e6, arrayBuffers: 4e6, rss: 80e6, "worker's rss": 80e6 };

const LINES_SHOWN = 100;

/** The last turn of a quarter, and that of the warm-up, may take so long on a busy machine. */
const TURN_SECONDS = 900;

type Holdings = Record<string, number>;

async function main(): Promise<number> {
  const { values } = parseArgs({ options: OPTIONS });
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [minutes, quarters, cut, kill, seed] = (["minutes", "quarters", "cut", "kill", "seed"] as const).map(
    (name) => {
      const number = Number(values[name]);
      if (!(number >= 0)) {
        throw new Error(`--${name} ${values[name]}: expected a number`);
      }
      return number;
    },
  ) as [number, number, number, number, number];
  if (!insideKernel()) {
    return runInKernel(import.meta.filename, process.argv.slice(2), {
      timeoutSeconds: minutes * 60 + TURN_SECONDS * (quarters + 1),
      flags: ["--expose-gc"],
    });
  }
  const chosen = chooseLoads(loads(values.fsx && resolve(values.fsx)), values.loads?.split(","));
  const random = new Random(seed);
  const relays: Relay[] = [];
  const openRelay = async (port: number) => {
    const relay = await Relay.open({ port: 0, host: "127.0.0.1" }, { port, host: "127.0.0.1" });
    relays.push(relay);
    return relay;
  };
  const mounts = [
    new MountedFileSystem("memory", "4.2", openRelay),
    new MountedFileSystem("the worker's tree", "4.1", openRelay),
  ];
  const failures: string[] = [];
  const said: string[] = [];
  for (const mount of mounts) {
    await mount.start();
  }
  let kills: RunnerKills | undefined;
  try {
    kills = await RunnerKills.start(seed, (line) => {
      said.push(line);
      said.splice(0, said.length - LINES_SHOWN);
    });
    const places: Place[] = [];
    for (const mount of mounts) {
      for (const load of chosen) {
        places.push({ load, mount, folder: await mount.directory() });
      }
    }
    await Promise.all([quarter(places, 0, failures), kills.warmUp()]);
    const start = await holdings(mounts, kills);
    await kills.leftBehind();
    console.log(`warmed up after ${(performance.now() / 1000).toFixed(0)} s`);
    const rows: [string, Holdings][] = [["start", start]];
    for (let part = 1; part <= quarters && failures.length === 0; part++) {
      const milliseconds = (minutes * 60_000) / quarters;
      const actions = kills.quarter(milliseconds, kill * 1000).catch((error: Error) => {
        failures.push(`actions: ${error.message}`);
      });
      {
        using _cuts = cutNowAndThen(relays, random, cut);
        await quarter(places, milliseconds, failures);
      }
      await actions;
      const left = await kills.leftBehind();
      const now = await holdings(mounts, kills);
      rows.push([`${part} of ${quarters}`, now]);
      printTable(rows);
      console.log(
        `${kills.actions} actions, ${kills.kills} kills of their runner; what failed and was tried again:`,
      );
      console.table(Object.fromEntries(kills.retries));
      failures.push(
        ...grown(start, now).map((line) => `after ${part} of ${quarters}: ${line}`),
        ...left.map((line) => `left behind after ${part} of ${quarters}: ${line}`),
      );
    }
  } finally {
    if (failures.length > 0) {
      console.log(`worker, runner, storage and scheduler said last:\n${said.join("\n")}`);
    }
    await kills?.[Symbol.asyncDispose]();
    for (const mount of mounts) {
      await mount.end();
    }
  }
  for (const failure of failures) {
    console.log(`FAILED: ${failure}`);
  }
  return failures.length === 0 ? 0 : 1;
}

function chooseLoads(all: readonly Load[], names: readonly string[] | undefined): readonly Load[] {
  const unknown = names?.find((wanted) => all.every(({ name }) => name !== wanted));
  if (unknown !== undefined) {
    throw new Error(`--loads: there is no ${unknown}, only ${all.map(({ name }) => name).join(", ")}`);
  }
  return all.filter(({ name }) => names?.includes(name) ?? true);
}

/** Cuts one's connections again and again, at most so many seconds apart, until it is disposed of; never if that is 0. */
function cutNowAndThen(relays: readonly Relay[], random: Random, seconds: number): Disposable {
  let timer: NodeJS.Timeout | undefined;
  const cutLater = () => {
    timer = setTimeout(
      () => {
        random.pick(relays).cut();
        cutLater();
      },
      random.between(1000, seconds * 1000),
    );
  };
  if (seconds > 0) {
    cutLater();
  }
  return { [Symbol.dispose]: () => clearTimeout(timer) };
}

/** A load's own directory. */
interface Place {
  readonly load: Load;
  readonly mount: MountedFileSystem;
  readonly folder: string;
}

/** All loads again and again for that long, at least once. Leaves the directories empty. */
async function quarter(places: readonly Place[], milliseconds: number, failures: string[]): Promise<void> {
  const deadline = performance.now() + milliseconds;
  const turns = places.map(async ({ load: { name, script }, mount, folder }) => {
    do {
      try {
        await sh(`mkdir work; cd work\n${script}\ncd ${folder}; rm -rf work`, folder);
      } catch (error) {
        failures.push(`${name} on ${mount.name}: ${(error as Error).message}`);
      }
    } while (performance.now() < deadline && failures.length === 0);
  });
  await Promise.all(turns);
}

/** What this process and the worker hold once the kernel has let go of what it need not keep. */
async function holdings(mounts: readonly MountedFileSystem[], kills: RunnerKills): Promise<Holdings> {
  await sh("sync; echo 3 > /proc/sys/vm/drop_caches", "/");
  globalThis.gc?.();
  await new Promise((resolve) => setImmediate(resolve));
  globalThis.gc?.();
  const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
  const found: Holdings = {
    heap: heapUsed,
    arrayBuffers,
    rss,
    descriptors: readdirSync("/proc/self/fd").length,
  };
  for (const mount of mounts) {
    const { clients, states, connections } = mount.statistics();
    const { totalFiles, freeFiles } = mount.fileSystem.statistics();
    Object.assign(found, {
      [`clients, ${mount.name}`]: clients,
      [`states, ${mount.name}`]: states,
      [`connections, ${mount.name}`]: connections,
      [`nodes, ${mount.name}`]: totalFiles - freeFiles,
    });
  }
  Object.assign(found, await kills.holdings());
  return found;
}

function grown(start: Holdings, now: Holdings): string[] {
  return Object.entries(now)
    .filter(
      ([what, number]) =>
        number - start[what]! > (ALLOWANCE_BYTES[what as keyof typeof ALLOWANCE_BYTES] ?? 0),
    )
    .map(([what, number]) => `${what}: ${start[what]}, then ${number}`);
}

function printTable(rows: readonly [string, Holdings][]): void {
  const [, first] = rows[0]!;
  const table = Object.fromEntries(
    Object.keys(first).map((what) => [
      what,
      Object.fromEntries(
        rows.map(([when, found]) => [
          when,
          what in ALLOWANCE_BYTES ? `${(found[what]! / 1e6).toFixed(1)} MB` : found[what]!,
        ]),
      ),
    ]),
  );
  console.table(table);
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`npm run endurance: ${(error as Error).message}`);
  process.exitCode = 1;
}
