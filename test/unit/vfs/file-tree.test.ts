import assert from "node:assert/strict";
import { test } from "node:test";
import { type Directory, FileSystemStatus, FileType, type Special } from "../../../src/nfs/file-system.ts";
import { QuotaExceededError, toName, toText } from "../../../src/vfs/index.ts";
import { symlink } from "./fake-input-source.ts";
import { attributesOf, contentOf, lookup, makeFixture, namesIn, outcome, USER } from "./tree-fixture.ts";

const { EXIST, INVAL, NOTDIR, PERM, STALE, DQUOT, NOTEMPTY, BAD_COOKIE, NOENT, XATTR2BIG, NOXATTR, NOSPC } =
  FileSystemStatus;

test("only the worker changes the root, which lists the build directories", async () => {
  const { tree, build } = await makeFixture({});
  const second = tree.createBuildDirectory("second");
  assert.deepEqual(await namesIn(tree.root), ["action", "second"]);
  assert.equal(build.directory.parent(), tree.root);
  const nodes = tree.counts().directories;
  assert.throws(() => tree.createBuildDirectory("second"), /second.*already/);
  assert.equal(tree.counts().directories, nodes, "nothing is left of what could not be made");
  for (const refused of [
    () => tree.root.createFile(),
    () => tree.root.remove(),
    () => tree.root.setAttributes(),
    () => tree.root.createDirectory(),
  ]) {
    assert.equal(await outcome(refused), PERM);
  }
  assert.equal(await outcome(() => build.directory.rename("root", tree.root, "x")), FileSystemStatus.XDEV);
  await second.remove();
  await second.remove();
  assert.deepEqual(await namesIn(tree.root), ["action"]);
  assert.equal(tree.resolve(second.directory.handle), undefined);
});

test("the worker's own paths make parents, and never follow a symlink", async () => {
  const { build, source, root } = await makeFixture({
    out: { old: "x" },
    link: symlink("/etc"),
    file: "x",
    far: {},
  });
  const made = await build.makeDirectories(["root", "out", "a", "b"]);
  assert.deepEqual(await namesIn(await lookup<Directory>(root, "out")), ["old", "a"]);
  assert.equal((await attributesOf(made)).mode, 0o777);
  assert.equal(source.directoriesAsked.length, 2, "only what is on the way");
  for (const name of ["link", "file"]) {
    assert.equal(await outcome(() => build.makeDirectories(["root", name, "a"])), NOTDIR);
    assert.equal(await build.lookupPath(["root", name, "passwd"]), undefined);
  }
  assert.equal((await build.lookupPath(["root", "link"]))?.type, FileType.SYMLINK);
  assert.equal(await build.lookupPath([]), build.directory);
  const dev = await build.makeDirectories(["root", "dev"]);
  const special = { type: FileType.CHARACTER_DEVICE, major: 1, minor: 3 };
  await dev.createSpecial("null", USER, special, { mode: 0o666 });
  const device = (await build.lookupPath(["root", "dev", "null"])) as Special;
  assert.ok(device.type === FileType.CHARACTER_DEVICE);
  assert.deepEqual([device.major, device.minor, (await attributesOf(device)).mode], [1, 3, 0o666]);
  assert.equal(await outcome(() => dev.createSpecial("null", USER, special, {})), EXIST);
  const file = await build.createFile(["stdout"], Buffer.from("text"));
  assert.equal((await contentOf(file)).toString(), "text");
});

test("what an action makes is its own, and the rest the build directory's owner's", async () => {
  const { root, build } = await makeFixture({}, { build: { owner: { userId: 7, groupId: 8 } } });
  const rootAttributes = await attributesOf(root);
  assert.deepEqual([rootAttributes.userId, rootAttributes.groupId], [7, 8]);
  assert.equal((await attributesOf(build.directory)).userId, 7);
  const file = await attributesOf(await root.createFile("a", USER, { mode: 0o640 }));
  assert.deepEqual([file.userId, file.groupId, file.mode], [1000, 100, 0o640]);
});

test("times and change attributes go up with every change", async () => {
  const { root } = await makeFixture({});
  const directoryBefore = await attributesOf(root);
  const file = await root.createFile("a", USER, {});
  const directoryAfter = await attributesOf(root);
  assert.ok(directoryAfter.change > directoryBefore.change);
  assert.ok(directoryAfter.modifyTime.seconds > directoryBefore.modifyTime.seconds);
  let last = await attributesOf(file);
  const changes: (() => unknown)[] = [
    () => file.write(0, Buffer.from("x"), true),
    () => file.setAttributes({ mode: 0o600 }),
    () => file.setAttributes({ size: 10 }),
    () => file.deallocate(0, 1),
    () => file.allocate(0, 20),
    () => root.link("b", file),
    () => root.rename("b", root, "c"),
    () => root.remove("c"),
    () => file.setExtendedAttribute("n", Buffer.from("v"), "create"),
    () => file.removeExtendedAttribute("n"),
  ];
  for (const change of changes) {
    await change();
    const now = await attributesOf(file);
    assert.ok(now.change > last.change, change.toString());
    assert.ok(now.metadataTime.seconds > last.metadataTime.seconds, change.toString());
    last = now;
  }
  await file.setAttributes({ modifyTime: { seconds: 5, nanoseconds: 6 }, accessTime: "now" });
  assert.deepEqual((await attributesOf(file)).modifyTime, { seconds: 5, nanoseconds: 6 });
});

test("a size that cannot be set changes nothing", async () => {
  const { root, build } = await makeFixture({}, { build: { quota: { maximumSizeBytes: 100 } } });
  const file = await root.createFile("a", USER, { mode: 0o755 });
  assert.equal(await outcome(() => file.setAttributes({ size: 101, mode: 0o700 })), DQUOT);
  assert.equal((await attributesOf(file)).mode, 0o755);
  assert.equal(await outcome(() => root.setAttributes({ size: 1, mode: 0 })), INVAL);
  assert.equal((await attributesOf(root)).mode, 0o777);
  assert.equal(build.quota.sizeBytes, 0);
});

test("the quota ends in EDQUOT and is told once", async () => {
  const { root, faults, build } = await makeFixture(
    {},
    { build: { quota: { maximumFileCount: 2, maximumSizeBytes: 10 } } },
  );
  const file = await root.createFile("a", USER, {});
  await root.createFile("b", USER, {});
  assert.equal(await outcome(() => root.createFile("c", USER, {})), DQUOT);
  assert.equal(await outcome(() => root.createFile("d", USER, {})), DQUOT);
  assert.deepEqual(await namesIn(root), ["a", "b"]);
  assert.equal(await outcome(() => file.write(0, Buffer.alloc(11), false)), DQUOT);
  assert.equal(faults.length, 2);
  assert.ok(faults.every((fault) => fault instanceof QuotaExceededError));
  await root.remove("b");
  assert.equal(await outcome(() => root.createFile("e", USER, { size: 11 })), DQUOT);
  assert.deepEqual(await namesIn(root), ["a"], "a file that cannot be made as asked is not made");
  assert.equal(build.quota.fileCount, 1);
});

test("directories, links and everything else with a name have a quota too", async () => {
  const { root, faults, build } = await makeFixture(
    { dir: {}, sub: { deep: {} } },
    { build: { quota: { maximumNodes: 5 } } },
  );
  await root.createDirectory("a", USER, {});
  const file = await root.createFile("b", USER, {});
  await root.link("c", file);
  const sub = await lookup<Directory>(root, "sub");
  assert.equal(build.quota.nodes, 5);
  for (const refused of [
    () => root.createDirectory("d", USER, {}),
    () => root.createSymlink("d", USER, Buffer.from("x"), {}),
    () => root.createSpecial("d", USER, { type: FileType.FIFO }, {}),
    () => root.createFile("d", USER, {}),
    () => root.link("d", file),
    () => sub.lookup("deep"),
  ]) {
    assert.equal(await outcome(refused), DQUOT);
  }
  assert.equal(faults.length, 1);
  assert.match(faults[0]!.message, /at most 5 files, directories and links/);
  assert.equal((await attributesOf(file)).linkCount, 2);
  assert.equal(build.quota.fileCount, 1);
  await root.remove("a");
  await root.rename("c", root, "d");
  assert.equal(build.quota.nodes, 4);
  assert.ok(await sub.lookup("deep"));
  await build.remove();
  assert.deepEqual([build.quota.nodes, build.quota.fileCount], [0, 0]);
});

test("symlink targets and extended attributes are charged by their bytes", async () => {
  const { root, build } = await makeFixture({}, { build: { quota: { maximumSizeBytes: 5000 } } });
  const tooLong = Buffer.alloc(4097, "x");
  assert.equal(await outcome(() => root.createSymlink("a", USER, tooLong, {})), FileSystemStatus.NAMETOOLONG);
  await root.createSymlink("a", USER, tooLong.subarray(1), {});
  assert.equal(build.quota.sizeBytes, 4096);
  assert.equal(await outcome(() => root.createSymlink("b", USER, Buffer.alloc(1000, "x"), {})), DQUOT);
  assert.deepEqual(await namesIn(root), ["a"]);

  const directory = await root.createDirectory("c", USER, {});
  const set = (name: string, bytes: number) =>
    directory.setExtendedAttribute(name, Buffer.alloc(bytes), "either");
  set("xy", 500);
  assert.equal(build.quota.sizeBytes, 4096 + 502);
  assert.equal(await outcome(() => set("z", 500)), DQUOT);
  set("xy", 100);
  set("z", 10);
  assert.equal(build.quota.sizeBytes, 4096 + 102 + 11);
  directory.removeExtendedAttribute("xy");
  assert.equal(build.quota.sizeBytes, 4096 + 11);
  await root.remove("c");
  assert.equal(await outcome(() => set("late", 1)), STALE);
  await root.remove("a");
  assert.deepEqual([build.quota.sizeBytes, build.quota.nodes], [0, 1], "the input root is left");
});

test("directories are made for all who ask at the same time", async () => {
  const { build, source } = await makeFixture({});
  source.delayed = true;
  await Promise.all([
    build.makeDirectories(["root", "a", "b"]),
    build.makeDirectories(["root", "a", "c"]),
    build.makeDirectories(["root", "a", "b", "d"]),
  ]);
  const names = await namesIn((await build.lookupPath(["root", "a"])) as Directory);
  assert.deepEqual(names.sort(), ["b", "c"]);
});

test("a file without names lives until it is released, and frees its quota once", async () => {
  const { tree, root, build, pool } = await makeFixture({}, { smallFileBytes: 4 });
  const file = await root.createFile("a", USER, {});
  await file.write(0, Buffer.from("content"), false);
  file.retain();
  await root.remove("a");
  assert.equal(tree.resolve(file.handle), file);
  assert.equal((await attributesOf(file)).linkCount, 0);
  assert.equal((await contentOf(file)).toString(), "content");
  assert.equal(await outcome(() => root.link("b", file)), STALE);
  assert.equal(build.quota.fileCount, 1);
  file.release();
  assert.equal(tree.resolve(file.handle), undefined);
  assert.deepEqual([build.quota.fileCount, build.quota.sizeBytes, pool.usedBytes], [0, 0, 0]);

  const held = await root.createFile("held", USER, {});
  await held.write(0, Buffer.from("content"), false);
  held.retain();
  assert.ok(held.retained);
  const released = held.released();
  await build.remove();
  assert.equal(tree.resolve(held.handle), held);
  assert.equal((await contentOf(held)).toString(), "content");
  held.release();
  await released;
  assert.equal(tree.resolve(held.handle), undefined);
  assert.deepEqual([build.quota.fileCount, build.quota.sizeBytes, pool.usedBytes], [0, 0, 0]);
});

test("directories: what rename(2) and rmdir(2) forbid", async () => {
  const { root } = await makeFixture({ full: { x: "x" }, empty: {}, file: "x" });
  const full = await lookup<Directory>(root, "full");
  assert.equal(await outcome(() => root.remove("full")), NOTEMPTY);
  assert.equal(await outcome(() => root.rename("full", full, "inside")), INVAL);
  assert.equal(await outcome(() => root.rename("empty", root, "full")), NOTEMPTY);
  assert.equal(await outcome(() => root.rename("file", root, "empty")), EXIST);
  assert.equal(await outcome(() => root.rename("empty", root, "file")), EXIST);
  assert.equal(await outcome(() => root.rename("none", root, "x")), NOENT);
  assert.equal(await outcome(() => root.readDirectory(1000, () => true)), BAD_COOKIE);
  await root.rename("full", root, "empty");
  assert.deepEqual(await namesIn(root), ["file", "empty"]);
  await full.remove("x");
  await root.remove("empty");
  assert.equal(await outcome(() => full.createFile("late", USER, {})), STALE);
  assert.equal(full.parent(), undefined);
});

test("a directory that an action makes counts its subdirectories, one of the CAS does not", async () => {
  const { root } = await makeFixture({ input: { inside: {} } });
  const from = await root.createDirectory("from", USER, {});
  const to = await root.createDirectory("to", USER, {});
  const counts = () => [from, to].map((directory) => directory.attributes().linkCount);
  assert.deepEqual(counts(), [2, 2]);
  for (const name of ["a", "b", "c"]) {
    await from.createDirectory(name, USER, {});
  }
  await from.createFile("file", USER, {});
  assert.deepEqual(counts(), [5, 2]);
  await from.rename("a", to, "a");
  assert.deepEqual(counts(), [4, 3]);
  await from.rename("b", to, "a");
  assert.deepEqual(counts(), [3, 3]);
  await from.rename("c", from, "d");
  assert.deepEqual(counts(), [3, 3]);
  await from.remove("file");
  await from.remove("d");
  assert.deepEqual(counts(), [2, 3]);
  const input = await lookup<Directory>(root, "input");
  await input.createDirectory("made", USER, {});
  assert.equal((await attributesOf(input)).linkCount, 1);
});

test("devices, FIFOs and sockets can be made and linked", async () => {
  const { root } = await makeFixture({});
  await root.createSpecial("fifo", USER, { type: FileType.FIFO }, { mode: 0o600 });
  await root.createSpecial("block", USER, { type: FileType.BLOCK_DEVICE, major: 8, minor: 1 }, {});
  await root.link("fifo2", await lookup(root, "fifo"));
  assert.equal((await attributesOf(await lookup(root, "fifo2"))).linkCount, 2);
  assert.deepEqual(await namesIn(root), ["fifo", "block", "fifo2"]);
});

test("extended attributes are bounded, and keep to create and replace", async () => {
  const { root } = await makeFixture({});
  assert.equal(await outcome(() => root.setExtendedAttribute("a", Buffer.alloc(65536), "either")), XATTR2BIG);
  assert.equal(await outcome(() => root.setExtendedAttribute("a", Buffer.alloc(1), "replace")), NOXATTR);
  const value = Buffer.from("value");
  root.setExtendedAttribute("a", value, "create");
  value.fill(0);
  assert.equal(Buffer.from(root.getExtendedAttribute("a")!).toString(), "value");
  assert.equal(await outcome(() => root.setExtendedAttribute("a", value, "create")), EXIST);
  assert.equal(await outcome(() => root.setExtendedAttribute("b", Buffer.alloc(65530), "create")), NOSPC);
  root.removeExtendedAttribute("a");
  assert.equal(await outcome(() => root.removeExtendedAttribute("a")), NOXATTR);
  assert.deepEqual(root.listExtendedAttributes(), []);
});

test("names are bytes", () => {
  assert.equal(toName("é"), "\xc3\xa9");
  assert.equal(toText("\xc3\xa9"), "é");
  assert.equal(toText("\xff"), undefined);
});
