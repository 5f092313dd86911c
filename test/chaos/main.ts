/** `npm run chaos`: faults of all kinds under work whose results are known. */

import { createWriteStream } from "node:fs";
import { dirname, resolve } from "node:path";
import { parseArgs } from "node:util";
import { insideKernel, runInKernel } from "../../src/in-kernel/run-in-kernel.ts";
import { runChaos } from "./run.ts";

const HELP = `Usage: npm run chaos [-- OPTION…]

Runs actions whose results are known while it kills, stops, silences and cuts off worker, runner, storage, scheduler
and their helpers, and starts them again. Fails if an action is lost or has a wrong result, or if a process, mount,
socket, lock, key, control group or file is left behind, counted after each round and at the end. Boots a kernel with an
NFS client where this one has none.

  --seed N         the same seed makes the same actions and faults (default: the time)
  --seeds COUNT    that many runs one after the other, with seeds from --seed on (default 1)
  --minutes M      how long a run causes faults (default 5)
  --faults N       faults between two counts of what is left behind (default 10)
  --log FILE       what the programs say, and which kernel tasks hang if something is left behind
  --help           this text`;

const OPTIONS = {
  seed: { type: "string", default: String(Math.floor(Date.now() / 1000) % 1_000_000) },
  seeds: { type: "string", default: "1" },
  minutes: { type: "string", default: "5" },
  faults: { type: "string", default: "10" },
  log: { type: "string" },
  help: { type: "boolean", default: false },
} as const;

class UsageError extends Error {}

async function main(): Promise<number> {
  const values = readArguments();
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const [seed, seeds, minutes, faultsPerRound] = (["seed", "seeds", "minutes", "faults"] as const).map(
    (name) => {
      const number = Number(values[name]);
      if (!(number > 0 || (name === "seed" && number === 0))) {
        throw new UsageError(`--${name} ${values[name]}: expected a number`);
      }
      return number;
    },
  ) as [number, number, number, number];
  if (!insideKernel()) {
    return runInKernel(import.meta.filename, [...process.argv.slice(2), "--seed", values.seed], {
      timeoutSeconds: seeds * (minutes * 60 + 600),
      ...(values.log !== undefined && { data: dirname(resolve(values.log)) }),
    });
  }
  const file = values.log === undefined ? undefined : createWriteStream(values.log);
  let failed = false;
  for (let run = 0; run < seeds; run++) {
    const started = performance.now();
    const elapsed = () => `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s`;
    console.log(`\nseed ${seed + run}, ${minutes} minutes`);
    const report = await runChaos({
      seed: seed + run,
      milliseconds: minutes * 60_000,
      faultsPerRound,
      note: (text) => console.log(`${elapsed()}  ${text}`),
      log: (line) => file?.write(`${elapsed()}  ${line}\n`),
    });
    printTable("fault", "times", report.faults);
    printTable("ended with a status, and tried again", "times", report.retries);
    for (const failure of report.failures) {
      console.log(`FAILED: ${failure}`);
    }
    console.log(
      `seed ${seed + run}: ${report.actions} actions, ${report.rounds} rounds, ${report.failures.length} failures`,
    );
    failed ||= report.failures.length > 0;
  }
  file?.end();
  return failed ? 1 : 0;
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS }).values;
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

function printTable(thing: string, number: string, rows: ReadonlyMap<string, number>): void {
  const width = Math.max(thing.length, ...[...rows.keys()].map((name) => name.length));
  console.log(`\n${thing.padEnd(width)}  ${number}`);
  for (const [name, times] of [...rows].sort(([, a], [, b]) => b - a)) {
    console.log(`${name.padEnd(width)}  ${String(times).padStart(number.length)}`);
  }
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`npm run chaos: ${(error as Error).message}`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
