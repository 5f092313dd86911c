/**
 * `npm run bench [-- OPTION… SCENARIO…]`: the suite (suite/main.ts). `npm run bench -- NAME [OPTION…]`: a benchmark of one
 * part; `--list` says which there are.
 */
import { spawn } from "node:child_process";
import path from "node:path";

const benchmarks: Readonly<Record<string, readonly [file: string, subject: string]>> = {
  "order-to-run": [
    "order-to-run.ts",
    "from the scheduler's order to the runner's call, by size of the input root",
  ],
  ready: ["ready.ts", "from a program's start until it is ready: sources, bundle, executable"],
  native: ["native.ts", "the same where input roots are hard links, beside a loop that makes as many"],
  memory: ["memory.ts", "the worker's memory after find / in 200,000 files"],
  nfs: ["nfs/main.ts", "operations/s and CPU per NFS operation, beside a bare echo server and Ganesha"],
  "nfs-overhead": ["nfs/overhead.ts", "CPU per NFS operation with and without metrics and traces"],
  "nfs-moved": ["nfs/moved.ts", "the NFS server's memory while 10 GiB are read and written"],
  vfs: ["vfs/find.ts", "the file tree alone: listings, look-ups and memory per file in 200,000 files"],
  "vfs-write": ["vfs/write.ts", "the file tree alone: creating and writing files"],
  cas: ["cas/cas.ts", "blobs read and uploaded, beside bare grpc-js"],
};

const args = process.argv.slice(2);
const benchmark = benchmarks[args[0] ?? ""];
if (args[0] === "--list") {
  for (const [name, [, subject]] of Object.entries(benchmarks)) {
    console.log(`  ${name.padEnd(14)}${subject}`);
  }
} else {
  const script = path.join(import.meta.dirname, benchmark?.[0] ?? "suite/main.ts");
  const rest = benchmark ? args.slice(1) : args;
  const child = spawn(process.execPath, ["--expose-gc", script, ...rest], { stdio: "inherit" });
  child.once("exit", (code) => {
    process.exitCode = code ?? 1;
  });
}
