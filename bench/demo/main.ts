/**
 * `npm run demo`: a C compiler's root file system out of this machine's own Debian packages goes into the CAS, and
 * actions run in it, chrooted, on a kernel NFS mount. See `README.md` beside this file.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { parseArgs } from "node:util";
import { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import { runInKernel } from "../../src/in-kernel/run-in-kernel.ts";
import { type PlainDigest, toPlain } from "../plain-digest.ts";
import { collectDebianRoot, type DebianRoot } from "./debian-root.ts";
import { CHANGED_SOURCE, luaSources } from "./lua-sources.ts";
import type { DemoPlan } from "./plan.ts";
import { rootEntries } from "./root-entries.ts";

const help = `Usage: npm run demo [-- OPTION…]

Builds Lua with this machine's own C compiler, chrooted into an input root of some 10,000 files that is loaded
lazily over NFSv4, and shows what was fetched, how long it took, and the same on a hard-linked directory.

  --data DIR  keep the CAS and all else in DIR (default: a temporary folder, removed at the end)
  --help      this text`;

const { values: options } = parseArgs({ options: { data: { type: "string" }, help: { type: "boolean" } } });
if (options.help) {
  console.log(help);
} else {
  const data = path.resolve(options.data ?? (await mkdtemp(path.join(tmpdir(), "demo-"))));
  try {
    process.exitCode = await demo(data);
  } catch (error) {
    console.error(`\ndemo: ${error instanceof Error ? error.message : error}`);
    process.exitCode = 1;
  } finally {
    if (options.data === undefined) {
      await rm(data, { recursive: true, force: true });
    }
  }
}

async function demo(data: string): Promise<number> {
  console.log("1. Looking at this machine's packages for a C compiler, a shell and the basic tools …");
  const debian = await collectDebianRoot();
  const files = debian.entries.filter((entry) => entry.kind === "file").length;
  console.log(`   ${debian.packages.length} packages with ${files} files.`);

  console.log("2. Putting them, and the source code of Lua, into the embedded CAS …");
  const storage = await EmbeddedStorage.open({ folder: path.join(data, "storage") });
  const started = performance.now();
  const plan = await importRoots(storage, debian).finally(() => storage.close());
  await writeFile(path.join(data, "plan.json"), JSON.stringify(plan));
  console.log(
    `   ${plan.files} files, ${plan.directories} directories, ${megabytes(plan.bytes)} MB in ${seconds(started)} s.`,
  );

  console.log("3. Running the actions where the kernel has an NFS client …");
  return await runInKernel(path.join(import.meta.dirname, "run-actions.ts"), [data], { data });
}

/** The root with Lua's sources in `/build`, and the same with one source changed. */
async function importRoots(storage: EmbeddedStorage, debian: DebianRoot): Promise<DemoPlan> {
  const system = rootEntries(debian);
  const root = await storage.importInputRoot([...system, ...(await luaSources("build", false))]);
  const changed = await storage.importInputRoot([...system, ...(await luaSources("build", true))]);
  return {
    inputRoot: toPlain(root.digest),
    changedInputRoot: toPlain(changed.digest),
    changedFile: toPlain(changed.fileDigests.get(`build/${CHANGED_SOURCE}`)!),
    files: root.files,
    directories: root.directories,
    bytes: root.bytes,
    fileKeys: [...new Set([...root.fileDigests.values(), ...changed.fileDigests.values()].map(keyOf))],
  };
}

function keyOf({ hash, sizeBytes }: PlainDigest): string {
  return `${hash}-${sizeBytes}`;
}

function megabytes(bytes: number): string {
  return (bytes / 1e6).toFixed(1);
}

function seconds(since: number): string {
  return ((performance.now() - since) / 1000).toFixed(1);
}
