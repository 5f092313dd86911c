import assert from "node:assert/strict";
import { test } from "node:test";
import { FileSystemStatus, type RegularFile } from "../../../src/nfs/file-system.ts";
import { CasFile, type Fault, type TreeDirectory, WritableFile } from "../../../src/vfs/index.ts";
import { executable } from "./fake-input-source.ts";
import {
  attributesOf,
  contentOf,
  linkByPath,
  lookup,
  makeFixture,
  outcome,
  setAttributesByPath,
  USER,
  write,
} from "./tree-fixture.ts";

const { STALE, NOXATTR, IO } = FileSystemStatus;

test("opening an input for writing puts a private copy in its place, in this action only", async () => {
  const { tree, source, root, build } = await makeFixture({ tool: executable("original") });
  const other = await tree
    .createBuildDirectory("other")
    .attachInputRoot(["root"], source.addTree({ tool: executable("original") }));
  const before = await lookup(root, "tool");
  const directoryBefore = await attributesOf(root);
  const written = await write(root, "tool", 8, " and more");
  assert.equal((await contentOf(await lookup(root, "tool"))).toString(), "original and more");
  assert.equal(await lookup(root, "tool"), written);
  assert.notDeepEqual(written.handle, before.handle);
  const { mode, linkCount, size } = await attributesOf(written);
  assert.deepEqual([mode, linkCount, size], [0o555, 1, 17]);
  assert.equal((await contentOf(before)).toString(), "original");
  assert.deepEqual((await lookup(other, "tool")).handle, before.handle);
  assert.equal(build.quota.fileCount, 1);
  const directory = await attributesOf(root);
  assert.deepEqual(directory.modifyTime, directoryBefore.modifyTime, "no name has come or gone");
  assert.ok(directory.change > directoryBefore.change);
});

test("the copy keeps its digest until its content changes", async () => {
  const { source, root, build } = await makeFixture({ a: "original" });
  const a = (await root.openForWriting("a", await lookup<RegularFile>(root, "a"), false)) as WritableFile;
  await a.setAttributes({ mode: 0o755, modifyTime: "now", size: 8 });
  await a.write(0, Buffer.alloc(0), false);
  assert.deepEqual(a.digest, source.addBlob("original"));
  assert.equal(build.quota.fileCount, 0);
  assert.deepEqual(source.readsAsked, []);
  await a.write(0, Buffer.from("O"), false);
  assert.equal(a.digest, undefined);
  assert.equal((await contentOf(a)).toString(), "Original");
});

test("an input and its copy use the same space, by blocks, and what is allocated is used, too", async () => {
  const { root } = await makeFixture({ a: "original" });
  const input = await lookup<RegularFile>(root, "a");
  assert.equal((await attributesOf(input)).spaceUsed, 4096);
  const copy = (await root.openForWriting("a", input, false)) as WritableFile;
  assert.equal((await attributesOf(copy)).spaceUsed, 4096);
  await copy.allocate(0, 1_000_000);
  assert.equal((await attributesOf(copy)).spaceUsed, 1960 * 512);
});

test("truncating on open takes nothing of the old content", async () => {
  const { source, root } = await makeFixture({ a: "original" });
  const a = await root.openForWriting("a", await lookup<RegularFile>(root, "a"), true);
  await a.setAttributes({ size: 0 });
  await a.write(0, Buffer.from("new"), false);
  assert.equal((await contentOf(a)).toString(), "new");
  assert.deepEqual(source.readsAsked, []);
});

test("a change by handle gives no private copy to an action that did not have the handle", async () => {
  const { tree, source, root } = await makeFixture({ a: "original" });
  const [looked, listed, late] = await Promise.all(
    ["looked", "listed", "late"].map((action) =>
      tree.createBuildDirectory(action).attachInputRoot(["root"], source.addTree({ a: "original" })),
    ),
  );
  await lookup(looked!, "a");
  await listed!.readDirectory(0, () => true);
  const a = await lookup(root, "a");
  assert.equal(await outcome(() => a.setAttributes({ mode: 0o600 })), STALE);
  assert.deepEqual((await lookup(late!, "a")).handle, a.handle);
  assert.equal((await attributesOf(await lookup(late!, "a"))).linkCount, 9999);
  // It may have been these.
  for (const directory of [root, looked!, listed!]) {
    assert.ok((await lookup(directory, "a")) instanceof WritableFile);
  }
  // What it has found since then, it has not wanted to change.
  assert.deepEqual((await lookup(late!, "a")).handle, a.handle);
});

test("a file that one action has under one name is taken over, and others get another inode", async () => {
  const { tree, source, root, build } = await makeFixture({ a: "original", b: executable("original") });
  const digest = source.addTree({ a: "original", b: executable("original") });
  const other = await tree.createBuildDirectory("other").attachInputRoot(["root"], digest);
  const a = await lookup<CasFile>(root, "a");
  const b = await lookup<CasFile>(root, "b");
  const own = a.takeOver();
  assert.ok(own instanceof WritableFile);
  assert.deepEqual(own.handle, a.handle);
  const before = await attributesOf(a);
  assert.deepEqual(await attributesOf(own), { ...before, linkCount: 1 });
  await own.setAttributes({ mode: 0o600, size: 3 });
  assert.equal(tree.resolve(a.handle), own);
  assert.equal(await lookup(root, "a"), own);
  assert.equal((await contentOf(own)).toString(), "ori");
  assert.ok((await lookup(root, "b")) instanceof CasFile);
  assert.equal(build.quota.fileCount, 1);

  const others = await lookup<CasFile>(other, "a");
  const { fileId, mode } = await attributesOf(others);
  assert.notDeepEqual(others.handle, a.handle);
  assert.notEqual(fileId, before.fileId);
  assert.equal(mode, 0o444);
  assert.equal(((await tree.resolve(others.handle)) as CasFile).handle.equals(others.handle), true);
  assert.equal((await contentOf(others)).toString(), "original");
  assert.deepEqual((await lookup(other, "b")).handle, b.handle);

  // Each generation of the blob's handles can be taken, and none comes again.
  const othersOwn = others.takeOver();
  assert.deepEqual(othersOwn?.handle, others.handle);
  await build.remove();
  assert.equal(tree.resolve(a.handle), undefined);
  const third = await tree.createBuildDirectory("third").attachInputRoot(["root"], digest);
  const seen = await lookup<CasFile>(third, "a");
  assert.ok(seen instanceof CasFile);
  assert.equal(
    [a, others].some(({ handle }) => handle.equals(seen.handle)),
    false,
  );
});

test("a file is not taken over where another action, or another name, may have it", async () => {
  const inputs = { a: "original", twin: "original", dir: { inner: "alone" } };
  const { tree, source, root } = await makeFixture(inputs);
  assert.equal((await lookup<CasFile>(root, "a")).takeOver(), undefined, "there is a twin");
  await root.remove("twin");
  const other = await tree.createBuildDirectory("other").attachInputRoot(["root"], source.addTree(inputs));
  await lookup(other, "twin");
  assert.equal((await lookup<CasFile>(root, "a")).takeOver(), undefined, "another action has it");
  const inner = await lookup<CasFile>(await lookup<TreeDirectory>(root, "dir"), "inner");
  await root.rename("dir", root, "moved");
  assert.ok(inner.takeOver());
  const readOnly = await makeFixture({ a: "original" }, { inputsReadOnly: true });
  assert.equal((await lookup<CasFile>(readOnly.root, "a")).takeOver(), undefined);
});

test("a file is not taken over where looking for another name of it would hold everybody up", async () => {
  const many = Object.fromEntries(Array.from({ length: 20_001 }, (_, index) => [`${index}`, "other"]));
  const { root } = await makeFixture({ a: "original", many });
  const a = await lookup<CasFile>(root, "a");
  await lookup(await lookup<TreeDirectory>(root, "many"), "0");
  assert.equal(a.takeOver(), undefined);
  await root.rename("a", root, "b");
  assert.equal((await lookup<CasFile>(root, "b")).takeOver(), undefined, "nor by another name");
});

test("a blob that is missing is reported whatever the generation of its handle", async () => {
  const { tree, source, root, faults } = await makeFixture({ a: "original" });
  (await lookup<CasFile>(root, "a")).takeOver();
  const otherFaults: Fault[] = [];
  const build = tree.createBuildDirectory("other", { onFault: (fault) => otherFaults.push(fault) });
  const other = await build.attachInputRoot(["root"], source.addTree({ a: "original" }));
  const a = await lookup<CasFile>(other, "a");
  source.lose(a.digest);
  assert.equal(await outcome(() => a.read(0, 1)), IO);
  assert.equal(otherFaults.length, 1);
  assert.equal(faults.length, 1);
});

test("a change by handle is stale once, whereupon a lookup gives the private copy", async () => {
  const { root, clock } = await makeFixture({ a: "original" });
  const a = await lookup(root, "a");
  assert.equal(await outcome(() => a.setAttributes({ mode: 0o600 })), STALE);
  const copy = await lookup(root, "a");
  assert.ok(copy instanceof WritableFile);
  await copy.setAttributes({ mode: 0o600 });
  assert.equal((await attributesOf(copy)).mode, 0o600);
  assert.equal(await lookup(root, "a"), copy);
  assert.equal((await attributesOf(copy)).modifyTime.seconds, 946684800, "chmod leaves mtime alone");
  assert.ok((await attributesOf(copy)).metadataTime.seconds > 946684800);
  clock.milliseconds += 5000;
});

test("a lookup long after a refused change gives the input as it is", async () => {
  const { root, clock } = await makeFixture({ a: "original" });
  const a = await lookup(root, "a");
  assert.equal(await outcome(() => a.setAttributes({ modifyTime: "now" })), STALE);
  clock.milliseconds += 2001;
  assert.ok((await lookup(root, "a")) instanceof CasFile);
});

test("every change by handle that Linux retries works the second time", async () => {
  const changes = [
    { mode: 0o600 },
    { userId: 5 },
    { groupId: 5 },
    { size: 3 },
    { modifyTime: "now" as const },
  ];
  for (const change of changes) {
    const { root, clock } = await makeFixture({ a: "original" });
    await setAttributesByPath(root, "a", change);
    const copy = await lookup(root, "a");
    assert.ok(copy instanceof WritableFile, JSON.stringify(change));
    assert.equal((await contentOf(copy)).toString(), "size" in change ? "ori" : "original");
    clock.milliseconds += 5000;
  }
  const { root } = await makeFixture({ a: "original" });
  const a = await lookup<CasFile>(root, "a");
  assert.equal(await outcome(() => a.setExtendedAttribute("x", Buffer.from("y"), "either")), STALE);
  const copy = await lookup<WritableFile>(root, "a");
  copy.setExtendedAttribute("x", Buffer.from("y"), "either");
  assert.deepEqual(copy.listExtendedAttributes(), ["x"]);
  assert.equal(await outcome(() => a.setExtendedAttribute("x", Buffer.from("y"), "replace")), NOXATTR);
  assert.equal(await outcome(() => a.removeExtendedAttribute("x")), NOXATTR);
});

test("opening by handle for writing is stale, and the next lookup gives the private copy", async () => {
  const { root } = await makeFixture({ a: "original" });
  const a = await lookup<RegularFile>(root, "a");
  assert.equal(await outcome(() => a.redirectWriting?.()), STALE);
  assert.equal((await lookup<RegularFile>(root, "a")).immutable, false);
});

test("a change that changes nothing succeeds on the input itself", async () => {
  const { root } = await makeFixture({ a: "original" });
  const a = await lookup(root, "a");
  assert.equal(await outcome(() => a.setAttributes({ mode: 0o444, userId: 0, groupId: 0, size: 8 })), "ok");
  assert.ok((await lookup(root, "a")) instanceof CasFile);
});

test("a hard link to an input is a link to its private copy", async () => {
  const { root, source } = await makeFixture({ a: "original" });
  await linkByPath(root, "a", root, "b");
  const a = await lookup<WritableFile>(root, "a");
  assert.equal(await lookup(root, "b"), a);
  assert.equal((await attributesOf(a)).linkCount, 2);
  assert.deepEqual(a.digest, source.addBlob("original"));
  await write(root, "b", 0, "O");
  assert.equal((await contentOf(a)).toString(), "Original");
  await root.remove("a");
  assert.equal((await attributesOf(await lookup(root, "b"))).linkCount, 1);
});

test("a private copy whose blob is missing is EIO, told to its own action", async () => {
  const { root, source, faults } = await makeFixture({ a: "original" });
  await write(root, "a", 8, "!");
  source.lose(source.addBlob("original"));
  for (const delayed of [false, true]) {
    source.delayed = delayed;
    assert.equal(await outcome(async () => contentOf(await lookup(root, "a"))), IO);
  }
  assert.equal(faults.length, 1);
});

test("a clone of an input or of an unchanged copy shares the blob; anything else is copied", async () => {
  const { root, source } = await makeFixture({ a: "original" });
  const clone = await root.createFile("clone", USER, {});
  assert.equal(await clone.cloneRange(await lookup<RegularFile>(root, "a"), 0, 0, 8), 8);
  assert.deepEqual(clone.digest, source.addBlob("original"));
  const second = await root.createFile("second", USER, {});
  await second.cloneRange(clone, 0, 0, 8);
  assert.deepEqual(second.digest, source.addBlob("original"));
  assert.deepEqual(source.readsAsked, []);

  await clone.write(0, Buffer.from("O"), false);
  assert.equal((await contentOf(second)).toString(), "original");
  await second.cloneRange(clone, 0, 4, 6);
  assert.equal((await contentOf(second)).toString(), "origOrigin");
  await second.cloneRange(second, 0, 2, 8);
  assert.equal((await contentOf(second)).toString(), "ororigOrig");
});

test("a clone has holes where its source has them, and what was there before is gone", async () => {
  const { root } = await makeFixture({});
  const source = (await root.createFile("source", USER, {})) as WritableFile;
  await source.setAttributes({ size: 2 ** 40 });
  await source.write(2 ** 30, Buffer.from("data"), false);
  const clone = (await root.createFile("clone", USER, {})) as WritableFile;
  await clone.write(0, Buffer.from("before"), false);
  assert.equal(await clone.cloneRange(source, 0, 0, 2 ** 40), 2 ** 40);
  assert.deepEqual(
    [clone.size, clone.seek(0, "data"), clone.seek(2 ** 30, "hole")],
    [2 ** 40, 2 ** 30, 2 ** 30 + 4],
  );
  assert.equal(clone.seek(2 ** 30 + 4, "data"), undefined);
  assert.equal(Buffer.from(await clone.read(2 ** 30, 4)).toString(), "data");
  assert.equal((await attributesOf(clone)).spaceUsed, 4096);

  await source.cloneRange(source, 2 ** 30 - 4096, 2 ** 30, 2 * 4096);
  assert.deepEqual(
    [source.seek(2 ** 30, "data"), source.seek(2 ** 30 + 4096, "hole")],
    [2 ** 30 + 4096, 2 ** 30 + 4100],
    "a range that overlaps its place, from its end on",
  );
});
