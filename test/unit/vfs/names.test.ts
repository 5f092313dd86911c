import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FileTree, MemoryFilePool, normalTarget } from "../../../src/vfs/index.ts";
import { FakeInputSource, symlink } from "./fake-input-source.ts";

/** What bb-storage's path.Builder (bdd785e) makes of each target. */
const TARGETS: Record<string, string> = JSON.parse(
  readFileSync(new URL("symlink-targets.json", import.meta.url), "utf8"),
);

test("targets of symlinks are spelt as Buildbarn spells them", () => {
  assert.ok(Object.keys(TARGETS).length > 30);
  for (const [target, normal] of Object.entries(TARGETS)) {
    assert.equal(normalTarget(target), normal, JSON.stringify(target));
    assert.equal(normalTarget(normal), normal);
  }
});

test("so are those of an input root", async () => {
  const source = new FakeInputSource();
  const tree = new FileTree({ source, pool: new MemoryFilePool(1 << 20) });
  const build = tree.createBuildDirectory("b");
  const root = await build.attachInputRoot(["root"], source.addTree({ link: symlink("./a//b/") }));
  const link = await root.lookup("link");
  assert.equal(link?.type === 5 && Buffer.from(link.target).toString(), "a/b/");
  await build.remove();
});
