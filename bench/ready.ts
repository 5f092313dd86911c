/**
 * `npm run bench -- ready [FORM…]`: from the start of a program until it is ready, from the sources, as the bundle and as the
 * executable, beside a Node that does nothing, which is the least. Wall-clock time, and the process's own CPU time, which
 * other load on the machine changes less. First on this machine, where the worker's build directory is native, then where
 * the kernel has an NFS client, where it is mounted. `npm run package` comes first.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { programCommand } from "../src/cluster/programs.ts";
import { insideKernel, runInKernel } from "../src/in-kernel/run-in-kernel.ts";
import { median } from "./median.ts";
import { processCpuSeconds } from "./process-usage.ts";
import { formatTable } from "./table.ts";

const ROUNDS = 5;
const PACKAGES = path.join(import.meta.dirname, "../package");
const FORMS = { sources: undefined, bundle: `${PACKAGES}/bundle`, executable: `${PACKAGES}/bin` };

const chosen = process.argv.slice(2);

await measure();
if (!insideKernel()) {
  process.exitCode = await runInKernel(import.meta.filename, chosen);
}

async function measure(): Promise<void> {
  console.log(insideKernel() ? "\nwhere the build directory is mounted:" : "where nothing is mounted:");
  const folder = mkdtempSync(path.join(tmpdir(), "start-"));
  try {
    const nothing = ["-e", "console.error('ready'); setInterval(() => {}, 1000)"];
    const rows = [["node", ...(await times([process.execPath, ...nothing]))]];
    for (const name of ["worker", "runner"] as const) {
      const file = path.join(folder, `bb_${name}.json`);
      writeFileSync(file, JSON.stringify(name === "worker" ? workerIn(folder) : runnerIn(folder)));
      for (const [form, programs] of Object.entries(FORMS)) {
        if (chosen.length > 0 && !chosen.includes(form)) {
          continue;
        }
        rows.push([`bb_${name}, ${form}`, ...(await times([...programCommand(name, programs), file]))]);
      }
    }
    console.log(formatTable(["", "median, s", "CPU, s"], rows));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The medians of several starts. */
async function times(command: readonly string[]): Promise<string[]> {
  const starts: { readonly wall: number; readonly cpu: number }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    starts.push(await startOnce(command));
  }
  return (["wall", "cpu"] as const).map((key) => median(starts.map((start) => start[key])).toFixed(2));
}

/** Seconds until it is ready. */
async function startOnce([file = "", ...rest]: readonly string[]): Promise<{ wall: number; cpu: number }> {
  const started = performance.now();
  const child = spawn(file, rest, { stdio: ["ignore", "ignore", "pipe"] });
  const exit = once(child, "exit");
  const lines: string[] = [];
  let result: { wall: number; cpu: number } | undefined;
  for await (const line of createInterface(child.stderr)) {
    lines.push(line);
    if (result === undefined && /ready for work|runner ready|^ready$/.test(line)) {
      result = { wall: (performance.now() - started) / 1000, cpu: processCpuSeconds(child.pid!) };
      child.kill("SIGTERM");
    }
  }
  await exit;
  if (result === undefined) {
    throw new Error(`${file} was never ready:\n${lines.join("\n")}`);
  }
  return result;
}

function workerIn(folder: string): object {
  const nobody = { address: `unix:${folder}/nobody` };
  const grpc = { grpc: { client: nobody } };
  const [build, cache] = [path.join(folder, "build"), path.join(folder, "cache")];
  mkdirSync(build);
  mkdirSync(cache);
  const runners = [{ endpoint: { address: `unix:${folder}/runner` }, concurrency: 8 }];
  return {
    scheduler: nobody,
    blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
    filePool: { blockDevice: { file: { path: path.join(folder, "pool"), sizeBytes: 1e9 } } },
    buildDirectories: [
      insideKernel()
        ? { virtual: { mount: { mountPath: build, nfsv4: { linux: {} } } }, runners }
        : {
            native: {
              buildDirectoryPath: build,
              cacheDirectoryPath: cache,
              maximumCacheFileCount: 10,
              maximumCacheSizeBytes: 1e6,
              cacheReplacementPolicy: "LEAST_RECENTLY_USED",
            },
            runners,
          },
    ],
  };
}

function runnerIn(folder: string): object {
  return {
    buildDirectoryPath: path.join(folder, "build"),
    grpcServers: [{ listenPaths: [path.join(folder, "runner-socket")], authenticationPolicy: { allow: {} } }],
  };
}
