/**
 * `npm run bench -- order-to-run`: milliseconds from Synchronize's answer to the Run call, by size of the input
 * root. The worker is warm, the input root cold: each action has a root Directory of its own, and nothing of the tree
 * below has ever been fetched. What the storage gave is counted.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { EmbeddedStorage } from "../src/cluster/storage/embedded-storage.ts";
import { insideKernel, runInKernel } from "../src/in-kernel/run-in-kernel.ts";
import {
  DirectorySchema,
  SymlinkNodeSchema,
} from "../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Digest, makeDigest, SHA256 } from "../src/reapi/digest.ts";
import { startChrootedCluster } from "./chrooted-cluster.ts";
import type { ExecutionClient, Outcome } from "./demo/execution-client.ts";
import { syntheticRoot } from "./synthetic-root.ts";
import { formatTable } from "./table.ts";

const sizes = [20_000, 200_000];
const actionsPerSize = 50;

interface Root {
  readonly files: number;
  readonly hash: string;
  readonly sizeBytes: number;
}

process.exitCode = insideKernel() ? await measure(process.argv[2]!) : await prepare();

async function prepare(): Promise<number> {
  const data = mkdtempSync(path.join(tmpdir(), "order-to-run-"));
  try {
    const storage = await EmbeddedStorage.open({ folder: path.join(data, "storage") });
    const program = compileStatically(data);
    const roots: Root[] = [];
    for (const files of sizes) {
      console.log(`making an input root of ${files} files …`);
      const { digest } = await storage.importInputRoot([
        ...syntheticRoot(files),
        { path: "bin/true", type: "file", isExecutable: true, hostPath: program },
      ]);
      roots.push({ files, hash: digest.hash, sizeBytes: digest.sizeBytes });
    }
    await storage.close();
    writeFileSync(path.join(data, "roots.json"), JSON.stringify(roots));
    return await runInKernel(import.meta.filename, [data], { data });
  } finally {
    rmSync(data, { recursive: true, force: true });
  }
}

/** The input root has no libraries. */
function compileStatically(folder: string): string {
  const source = path.join(folder, "true.c");
  const program = path.join(folder, "true");
  writeFileSync(source, "int main(void) { return 0; }\n");
  execFileSync("cc", ["-static", "-O1", "-o", program, source]);
  return program;
}

async function measure(data: string): Promise<number> {
  const roots = JSON.parse(readFileSync(path.join(data, "roots.json"), "utf8")) as Root[];
  await using chrooted = await startChrootedCluster(data);
  const { cluster, client } = chrooted;
  const rows = [];
  for (const root of roots) {
    const base = makeDigest("", SHA256, root.hash, root.sizeBytes);
    await runOnce(cluster.storage, client, base, "warm-up");
    const outcomes: Outcome[] = [];
    for (let index = 0; index < actionsPerSize; index++) {
      outcomes.push(await runOnce(cluster.storage, client, base, `${root.files}-${index}`));
    }
    const times = outcomes.map((outcome) => outcome.orderToRunMilliseconds).sort((a, b) => a - b);
    const quantile = (q: number) => times[Math.floor((times.length - 1) * q)]!.toFixed(1);
    const blobs = Math.max(...outcomes.map((outcome) => outcome.served.byBlob.size));
    rows.push([root.files, outcomes.length, quantile(0.5), quantile(0.9), quantile(1), blobs]);
  }
  console.log(
    formatTable(
      ["files in input root", "actions", "median, ms", "90%, ms", "most, ms", "blobs fetched"],
      rows,
    ),
  );
  console.log(
    "Blobs fetched per action, at most: Action is in the order; Command and root Directory before the run.",
  );
  return 0;
}

/** Runs /bin/true in the root, made unlike any other by a symbolic link at the top. */
async function runOnce(
  storage: EmbeddedStorage,
  client: ExecutionClient,
  base: Digest,
  marker: string,
): Promise<Outcome> {
  const root = fromBinary(DirectorySchema, await storage.blobs.read(base));
  root.symlinks = [
    create(SymlinkNodeSchema, { name: "marker", target: `${marker}-${performance.timeOrigin}` }),
  ];
  const digest = await storage.putBlob(toBinary(DirectorySchema, root));
  return await client.run(
    { arguments: ["/bin/true", marker], workingDirectory: "", outputPaths: [] },
    digest,
  );
}
