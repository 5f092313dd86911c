/**
 * What the file tree costs without a network and without NFS: `find` and `stat` of everything in a large input root,
 * in one action, then in a second one with the same root. Usage: `node --expose-gc bench/vfs/find.ts [FILES]`.
 */
import { type Directory, FileType } from "../../src/nfs/file-system.ts";
import { FileTree, MemoryFilePool } from "../../src/vfs/index.ts";
import { makeInputRoot } from "./input-root.ts";

const fileCount = Number(process.argv[2] ?? 200_000);
const { source, digest, directories } = makeInputRoot(fileCount);
const tree = new FileTree({ source, pool: new MemoryFilePool(1e9) });

function heapBytes(): number {
  globalThis.gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

async function find(
  directory: Directory,
  look: (directory: Directory, name: string) => void,
): Promise<number> {
  const names: string[] = [];
  const subdirectories: Directory[] = [];
  await directory.readDirectory(0, (name, _, node) => {
    names.push(name);
    node.attributes();
    if (node.type === FileType.DIRECTORY) {
      subdirectories.push(node);
    }
    return true;
  });
  for (const name of names) {
    look(directory, name);
  }
  let count = names.length;
  for (const subdirectory of subdirectories) {
    count += await find(subdirectory, look);
  }
  return count;
}

async function measure(what: string, operation: () => Promise<number>): Promise<void> {
  const before = heapBytes();
  const start = process.hrtime.bigint();
  const count = await operation();
  const seconds = Number(process.hrtime.bigint() - start) / 1e9;
  const bytes = heapBytes() - before;
  console.log(
    `${what.padEnd(44)} ${count.toLocaleString("en").padStart(9)} entries ${Math.round(count / seconds)
      .toLocaleString("en")
      .padStart(
        11,
      )} /s ${(bytes / count).toFixed(0).padStart(5)} bytes/entry ${(bytes / 2 ** 20).toFixed(1).padStart(6)} MiB`,
  );
}

console.log(`${fileCount.toLocaleString("en")} files in ${directories.toLocaleString("en")} directories`);
const first = tree.createBuildDirectory("first");
const firstRoot = await first.attachInputRoot(["root"], digest);
await measure("attach and find (directories decoded: JSON)", () => find(firstRoot, () => {}));
await measure("find again", () => find(firstRoot, () => {}));
await measure("find with a lookup of every name", () =>
  find(firstRoot, (directory, name) => directory.lookup(name)),
);
await measure("… with resolve and attributes of every handle", () =>
  find(firstRoot, (directory, name) => {
    const node = directory.lookup(name) as { handle: Uint8Array };
    (tree.resolve(node.handle) as Directory).attributes();
  }),
);
const second = tree.createBuildDirectory("second");
const secondRoot = await second.attachInputRoot(["root"], digest);
await measure("the same root in a second action", () => find(secondRoot, () => {}));
console.log(tree.counts());
await measure("remove the first action", async () => {
  await first.remove();
  return fileCount;
});
console.log(
  `RSS ${(process.memoryUsage.rss() / 2 ** 20).toFixed(0)} MiB (with the input root itself, encoded)`,
);
