/**
 * `npm run bench -- memory`: the worker's memory after an action has run `find /` and read 5,000 files in an input
 * root of 200,000 files and a Debian system.
 */
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { EmbeddedStorage } from "../src/cluster/storage/embedded-storage.ts";
import { insideKernel, runInKernel } from "../src/in-kernel/run-in-kernel.ts";
import { makeDigest, SHA256 } from "../src/reapi/digest.ts";
import { startChrootedCluster } from "./chrooted-cluster.ts";
import { collectDebianRoot } from "./demo/debian-root.ts";
import { rootEntries } from "./demo/root-entries.ts";
import { syntheticRoot } from "./synthetic-root.ts";
import { formatTable } from "./table.ts";

const files = 200_000;
const filesToRead = 5000;

process.exitCode = insideKernel() ? await measure(process.argv[2]!) : await prepare();

async function prepare(): Promise<number> {
  const data = mkdtempSync(path.join(tmpdir(), "memory-"));
  try {
    const storage = await EmbeddedStorage.open({ folder: path.join(data, "storage") });
    console.log(`making an input root of ${files} files and a Debian system …`);
    const system = rootEntries(await collectDebianRoot());
    const { digest, files: all } = await storage.importInputRoot([...system, ...syntheticRoot(files)]);
    await storage.close();
    writeFileSync(
      path.join(data, "root.json"),
      JSON.stringify({ hash: digest.hash, sizeBytes: digest.sizeBytes }),
    );
    console.log(`${all} files are in the CAS`);
    return await runInKernel(import.meta.filename, [data], { data });
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

async function measure(data: string): Promise<number> {
  const { hash, sizeBytes } = JSON.parse(readFileSync(path.join(data, "root.json"), "utf8"));
  await using chrooted = await startChrootedCluster(data);
  const { client } = chrooted;
  const rows: (string | number)[][] = [["worker started", ...workerMemory()]];
  const script = `find / -xdev | wc -l; find /tree -name '*.txt' | head -n ${filesToRead} | xargs cat | wc -c`;
  const outcome = await client.run(
    { arguments: ["/bin/bash", "-c", script], workingDirectory: "", outputPaths: [] },
    makeDigest("", SHA256, hash, sizeBytes),
  );
  rows.push(["find / and cat", ...workerMemory()]);
  console.log(`the action printed: ${(await client.stdout(outcome)).trim().split("\n").join(", ")}`);
  console.log(formatTable(["", "RSS, MiB", "highest RSS, MiB"], rows));
  return 0;
}

/** RSS now, and the highest so far, in MiB. */
function workerMemory(): [string, string] {
  const pid = readdirSync("/proc").find(
    (name) =>
      /^\d+$/.test(name) && commandLine(name).some((argument) => /worker\/main\.[jt]s$/.test(argument)),
  );
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const value = (field: string) =>
    (Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) / 1024).toFixed(0);
  return [value("VmRSS"), value("VmHWM")];
}

function commandLine(pid: string): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}
