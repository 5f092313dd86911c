/**
 * The demo's second half, on a kernel with an NFS client: starts the cluster on the CAS that main.ts filled, runs the
 * actions, verifies what they gave, and prints the table. Exits with 0 only if all was as it must be.
 */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import {
  DirectoryNodeSchema,
  DirectorySchema,
  FileNodeSchema,
} from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { digestMessage } from "../../src/reapi/wire-digest.ts";
import { startChrootedCluster } from "../chrooted-cluster.ts";
import { type PlainDigest, toDigest } from "../plain-digest.ts";
import { runChrooted } from "../run-chrooted.ts";
import { formatTable } from "../table.ts";
import type { CommandLine, ExecutionClient, Outcome } from "./execution-client.ts";
import { type Placement, placeByHardLinks } from "./hardlinked-root.ts";
import { mountOperations, operationsSince } from "./mount-operations.ts";
import type { DemoPlan } from "./plan.ts";

const makeArguments = ["make", "CC=gcc -std=gnu99", "CFLAGS=-O1 -DLUA_USE_POSIX", "a", "lua"];
const build: CommandLine = {
  arguments: makeArguments,
  workingDirectory: "build",
  outputPaths: ["lua", "liblua.a"],
};
const primesBelow = 20_000;
const luaScript = `
local limit, count, sum, composite = ${primesBelow}, 0, 0, {}
for n = 2, limit - 1 do
  if not composite[n] then
    count, sum = count + 1, sum + n
    for multiple = n * n, limit - 1, n do composite[multiple] = true end
  end
end
local file = assert(io.open("primes.txt", "w"))
file:write(string.format("%d primes, sum %d\\n", count, sum))
file:close()
print(_VERSION)
`;

interface Measured extends Outcome {
  readonly name: string;
  readonly operations: readonly [string, number][];
}

const data = path.resolve(process.argv[2]!);
const plan = JSON.parse(readFileSync(path.join(data, "plan.json"), "utf8")) as DemoPlan;
process.exitCode = await main();

async function main(): Promise<number> {
  await using chrooted = await startChrootedCluster(data);
  const { cluster, client } = chrooted;
  console.log("   The cluster runs, the worker has its NFS mount.");
  try {
    const outcomes = await runActions(cluster.storage, client);
    const placed = await runHardLinked(cluster.storage);
    printTables(outcomes, placed);
    return 0;
  } catch (error) {
    console.error(`\n   FAILED: ${error instanceof Error ? error.message : error}`);
    console.error(lastLines(cluster.logPath));
    return 1;
  }
}

async function runActions(storage: EmbeddedStorage, client: ExecutionClient): Promise<Measured[]> {
  const measure = async (name: string, commandLine: CommandLine, root: Digest): Promise<Measured> => {
    process.stdout.write(`   ${name} … `);
    const before = mountOperations();
    const outcome = await client.run(commandLine, root);
    console.log(`${(outcome.milliseconds / 1000).toFixed(1)} s`);
    for (const [key, { bytes }] of outcome.served.byBlob) {
      expect(bytes <= Number(key.split("-")[1]), `${bytes} bytes were fetched of blob ${key}`);
    }
    return { name, ...outcome, operations: operationsSince(before, mountOperations()) };
  };

  const first = await measure("build Lua", build, toDigest(plan.inputRoot));
  const lua = await client.output(first, "lua");
  await client.output(first, "liblua.a");

  const run = await measure(
    "run it",
    { arguments: ["../build/lua", "../primes.lua"], workingDirectory: "work", outputPaths: ["primes.txt"] },
    await rootToRunIn(storage, lua.digest),
  );
  const primes = Buffer.from((await client.output(run, "primes.txt")).content).toString();
  expect(primes === expectedPrimes(), `primes.txt says ${JSON.stringify(primes)}`);
  expect((await client.stdout(run)) === "Lua 5.3\n", "the program did not print its version");

  const again = await measure("the same build again", build, toDigest(plan.inputRoot));
  expect(again.cachedResult, "the second build was no action cache hit");
  expect(again.result.outputFiles.length === 2, "the cached result lacks outputs");

  const changed = await measure("one source changed", build, toDigest(plan.changedInputRoot));
  expect(!changed.cachedResult, "the changed build was an action cache hit");
  const refetched = fetched(changed).files;
  expect(
    refetched.length === 1 && refetched[0] === keyOf(plan.changedFile),
    `${refetched.length} files were fetched where one had changed`,
  );
  const changedLua = await client.output(changed, "lua");
  expect(changedLua.digest.hash !== lua.digest.hash, "the changed source gave the same program");
  return [first, run, again, changed];
}

/** The built program and the script in the same root file system, and an empty directory to work in. */
async function rootToRunIn(storage: EmbeddedStorage, lua: Digest): Promise<Digest> {
  const put = async (directory: Parameters<typeof create<typeof DirectorySchema>>[1]) =>
    digestMessage(await storage.putBlob(toBinary(DirectorySchema, create(DirectorySchema, directory))));
  const root = fromBinary(DirectorySchema, await storage.blobs.read(toDigest(plan.inputRoot)));
  const program = await put({ files: [{ name: "lua", digest: digestMessage(lua), isExecutable: true }] });
  const directories = root.directories.filter(({ name }) => name !== "build");
  return await storage.putBlob(
    toBinary(
      DirectorySchema,
      create(DirectorySchema, {
        ...root,
        files: [
          ...root.files,
          create(FileNodeSchema, {
            name: "primes.lua",
            digest: digestMessage(await storage.putBlob(Buffer.from(luaScript))),
          }),
        ],
        directories: [
          ...directories,
          create(DirectoryNodeSchema, { name: "build", digest: program }),
          create(DirectoryNodeSchema, { name: "work", digest: await put({}) }),
        ].sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name))),
      }),
    ),
  );
}

/**
 * The same build on a fully placed input root, twice: with an empty cache folder, and with a full one. Both lie in the
 * temporary folder, which is in memory in user-mode Linux.
 */
async function runHardLinked(
  storage: EmbeddedStorage,
): Promise<{ placements: Placement[]; runMilliseconds: number }> {
  const folder = await mkdtemp(path.join(tmpdir(), "hardlinked-"));
  const placements: Placement[] = [];
  let runMilliseconds = Number.NaN;
  try {
    for (const name of ["first", "second"]) {
      console.log(`   placing all ${plan.files} files by hard links, for the ${name} time …`);
      const target = path.join(folder, name);
      const cache = path.join(folder, "cache");
      const progress = (files: number) => {
        if (files % 2500 === 0) {
          console.log(`   ${files} placed`);
        }
      };
      placements.push(await placeByHardLinks(storage, toDigest(plan.inputRoot), cache, target, progress));
      if (name === "first") {
        process.stdout.write("   build Lua there … ");
        const seconds = await runChrooted(target, 'cd build && exec "$@"', ...makeArguments);
        console.log(`${seconds.toFixed(1)} s`);
        runMilliseconds = seconds * 1000;
      }
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  return { placements, runMilliseconds };
}

function printTables(
  outcomes: readonly Measured[],
  { placements, runMilliseconds }: { placements: Placement[]; runMilliseconds: number },
): void {
  console.log(
    `\nThe input root: ${plan.files} files in ${plan.directories} directories, ${megabytes(plan.bytes)} MB.\n`,
  );
  console.log(
    formatTable(
      ["", "files fetched", "directories", "MB", "order to run, ms", "run, s", "NFS calls"],
      outcomes.map((outcome) => {
        const { files, directories, bytes } = fetched(outcome);
        const calls = outcome.operations.reduce((sum, [, count]) => sum + count, 0);
        return outcome.cachedResult
          ? [outcome.name, files.length, directories, megabytes(bytes), "cached", "cached", calls]
          : [
              outcome.name,
              files.length,
              directories,
              megabytes(bytes),
              outcome.orderToRunMilliseconds.toFixed(1),
              (outcome.runMilliseconds / 1000).toFixed(1),
              calls,
            ];
      }),
    ),
  );
  console.log("\nThe first build's NFS operations:");
  console.log(`  ${outcomes[0]!.operations.map(([name, count]) => `${name} ${count}`).join(", ")}\n`);
  const lazy = outcomes[0]!;
  console.log(
    formatTable(
      ["the same build", "files placed or fetched", "MB", "until it runs, s", "run, s", "in all, s"],
      [
        row(
          "lazily over NFSv4",
          fetched(lazy).files.length,
          fetched(lazy).bytes,
          lazy.orderToRunMilliseconds,
          lazy.runMilliseconds,
        ),
        ...placements.map(({ files, bytesWritten, milliseconds }, index) =>
          row(
            `hard-linked, ${index === 0 ? "empty" : "full"} cache`,
            files,
            bytesWritten,
            milliseconds,
            runMilliseconds,
          ),
        ),
      ],
    ),
  );
  console.log(
    "\nFetched is what the storage counted. Both ways ran on the same kernel; hard links took their blobs from\n" +
      "this process, without a network. Times in user-mode Linux are for comparing: its system calls are slow.",
  );
}

function row(
  name: string,
  files: number,
  bytes: number,
  placing: number,
  running: number,
): (string | number)[] {
  const seconds = (milliseconds: number) => (milliseconds / 1000).toFixed(2);
  return [name, files, megabytes(bytes), seconds(placing), seconds(running), seconds(placing + running)];
}

/** What the storage gave of input roots: files' keys, how many directories, bytes of both. */
function fetched(outcome: Outcome): { files: string[]; directories: number; bytes: number } {
  const files = new Set(plan.fileKeys);
  const control = new Set(outcome.controlBlobs.map(keyOf));
  const served = [...outcome.served.byBlob].filter(([key]) => !control.has(key));
  return {
    files: served.map(([key]) => key).filter((key) => files.has(key)),
    directories: served.filter(([key]) => !files.has(key)).length,
    bytes: served.reduce((sum, [, { bytes }]) => sum + bytes, 0),
  };
}

function expectedPrimes(): string {
  const composite = new Uint8Array(primesBelow);
  let count = 0;
  let sum = 0;
  for (let n = 2; n < primesBelow; n++) {
    if (composite[n] === 0) {
      count++;
      sum += n;
      for (let multiple = n * n; multiple < primesBelow; multiple += n) {
        composite[multiple] = 1;
      }
    }
  }
  return `${count} primes, sum ${sum}\n`;
}

function expect(condition: boolean, otherwise: string): void {
  if (!condition) {
    throw new Error(otherwise);
  }
}

function lastLines(file: string): string {
  return readFileSync(file, "utf8").trimEnd().split("\n").slice(-20).join("\n");
}

function keyOf({ hash, sizeBytes }: PlainDigest): string {
  return `${hash}-${sizeBytes}`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}
