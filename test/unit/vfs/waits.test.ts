import assert from "node:assert/strict";
import { test } from "node:test";
import { type CasFile, FileTree, MemoryFilePool } from "../../../src/vfs/index.ts";
import { FakeInputSource } from "./fake-input-source.ts";

test("a wait for storage is told to the actions that wait, and to no other", async () => {
  const source = new FakeInputSource();
  const tree = new FileTree({ source, pool: new MemoryFilePool(1 << 20) });
  const waits = { one: 0, two: 0, other: 0 };
  const start = async (name: keyof typeof waits, files: Record<string, string>) => {
    const build = tree.createBuildDirectory(name, { onWait: () => waits[name]++ });
    return { build, root: await build.attachInputRoot(["root"], source.addTree(files)) };
  };
  const one = await start("one", { shared: "shared" });
  const two = await start("two", { shared: "shared", own: "own" });
  const other = await start("other", { different: "different" });
  source.delayed = true;

  const shared = (await one.root.lookup("shared")) as CasFile;
  assert.deepEqual(waits, { one: 1, two: 0, other: 0 }, "a directory is one action's");
  await two.root.lookup("shared");
  await two.root.lookup("own");
  await other.root.lookup("different");
  assert.deepEqual(waits, { one: 1, two: 1, other: 1 });

  await shared.read(0, 6);
  assert.deepEqual(waits, { one: 2, two: 2, other: 1 }, "either may have asked for the file that both have");
  const own = (await two.root.lookup("own")) as CasFile;
  await own.read(0, 3);
  assert.deepEqual(waits, { one: 2, two: 3, other: 1 });

  await other.root.openForWriting("different", (await other.root.lookup("different")) as CasFile, false);
  const copy = (await other.root.lookup("different")) as CasFile;
  await copy.read(0, 3);
  assert.deepEqual(waits, { one: 2, two: 3, other: 2 }, "the content of a private copy");
  await Promise.all([one, two, other].map(({ build }) => build.remove()));
});
