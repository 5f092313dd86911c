import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { type Directory, FileSystemStatus, type RegularFile } from "../../../src/nfs/file-system.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";
import { SHA256 } from "../../../src/reapi/digest.ts";
import { CasDirectory } from "../../../src/vfs/directories/cas-directory.ts";
import type { TreeDirectory, TreeSymlink } from "../../../src/vfs/index.ts";
import { executable, symlink } from "./fake-input-source.ts";
import {
  attributesOf,
  contentOf,
  list,
  lookup,
  makeFixture,
  namesIn,
  outcome,
  USER,
} from "./tree-fixture.ts";

const { IO, STALE, ACCESS } = FileSystemStatus;

test("attaching an input root fetches nothing, looking into it one directory", async () => {
  const { source, root } = await makeFixture({ bin: { sh: executable("#!"), deep: { file: "x" } } });
  assert.deepEqual(source.directoriesAsked, []);
  await root.attributes();
  assert.deepEqual(source.directoriesAsked, []);
  const bin = await lookup<Directory>(root, "bin");
  assert.equal(source.directoriesAsked.length, 1);
  await lookup(bin, "sh");
  assert.equal(source.directoriesAsked.length, 2);
  // Who lists a directory is expected to look into those in it.
  assert.deepEqual(await namesIn(bin), ["sh", "deep"]);
  assert.equal(source.directoriesAsked.length, 3);
  assert.deepEqual(source.readsAsked, []);
});

test("all who wait for a directory share one fetch", async () => {
  const { source, root } = await makeFixture({ a: "1", b: "2" });
  source.delayed = true;
  const [a, b, names] = await Promise.all([root.lookup("a"), root.lookup("b"), namesIn(root)]);
  assert.ok(a !== undefined && b !== undefined);
  assert.deepEqual(names, ["a", "b"]);
  assert.equal(source.directoriesAsked.length, 1);
  assert.ok(!(root.lookup("a") instanceof Promise), "what is in memory is answered at once");
});

for (const delayed of [false, true]) {
  test(`a directory that cannot be had is EIO, told once, and tried again (delayed: ${delayed})`, async () => {
    const { source, root, faults } = await makeFixture({ dir: { file: "x" } });
    const dir = await lookup<TreeDirectory>(root, "dir");
    source.delayed = delayed;
    source.lose(dir.digest!);
    assert.deepEqual(await Promise.all([outcome(() => dir.lookup("file")), outcome(() => namesIn(dir))]), [
      IO,
      IO,
    ]);
    assert.equal(await outcome(() => dir.createFile("new", USER, {})), IO);
    assert.equal(faults.length, 1);
    assert.ok(faults[0] instanceof BlobError && faults[0].code === 5);
    assert.deepEqual(faults[0].digest, dir.digest);
    source.restore(dir.digest!);
    assert.ok(await dir.lookup("file"));
  });
}

test("a file that cannot be read is EIO, and told to the actions that have looked it up, once", async () => {
  const inputs = { dir: { file: "content" }, other: "x" };
  const { tree, source, root, faults } = await makeFixture(inputs);
  const othersFaults: unknown[] = [];
  const other = tree.createBuildDirectory("other", { onFault: (fault) => othersFaults.push(fault) });
  await other.attachInputRoot(["root"], source.addTree(inputs));
  await other.lookupPath(["root", "other"]);

  const file = await lookup<RegularFile>(await lookup<Directory>(root, "dir"), "file");
  source.lose(source.addBlob("content"));
  assert.equal(await outcome(() => file.read(0, 10)), IO);
  source.delayed = true;
  assert.equal(await outcome(() => file.read(0, 10)), IO);
  assert.deepEqual(
    faults.map((fault) => (fault as BlobError).code),
    [5],
  );
  assert.deepEqual(othersFaults, []);
});

test("a failing read finds its action among many directories, and searches no more when repeated", async () => {
  const { tree, source, root, faults } = await makeFixture({ dir: { file: "content" } });
  const other = tree.createBuildDirectory("other");
  const otherRoot = await other.attachInputRoot(["root"], source.addTree({ sub: { unrelated: "x" } }));
  for (let i = 0; i < 150_000; i++) {
    await otherRoot.createDirectory(`${i}`, USER, {});
  }
  await otherRoot.lookup("sub");
  const file = await lookup<RegularFile>(await lookup<Directory>(root, "dir"), "file");
  source.lose(source.addBlob("content"));
  const searches = mock.method(CasDirectory.prototype, "hasFile");
  assert.equal(await outcome(() => file.read(0, 10)), IO);
  assert.equal(faults.length, 1);
  const searched = searches.mock.callCount();
  assert.ok(searched <= 3);
  assert.equal(await outcome(() => file.read(0, 10)), IO);
  assert.equal(searches.mock.callCount(), searched);
  searches.mock.restore();
});

test("a fault counts for an action that looks into a directory with the file later", async () => {
  const inputs = { dir: { file: "content" } };
  const { tree, source, root, faults } = await makeFixture(inputs);
  const file = await lookup<RegularFile>(await lookup<Directory>(root, "dir"), "file");
  const othersFaults: unknown[] = [];
  const other = tree.createBuildDirectory("other", { onFault: (fault) => othersFaults.push(fault) });
  await other.attachInputRoot(["root"], source.addTree(inputs));
  source.lose(source.addBlob("content"));
  assert.equal(await outcome(() => file.read(0, 10)), IO);
  assert.deepEqual([faults.length, othersFaults.length], [1, 0]);
  await other.lookupPath(["root", "dir", "file"]);
  assert.equal(await outcome(() => file.read(0, 10)), IO);
  assert.deepEqual([faults.length, othersFaults.length], [1, 1]);
});

test("the same blob is the same inode everywhere, with constant attributes", async () => {
  const { tree, source, root } = await makeFixture({
    a: "same",
    b: "same",
    c: executable("same"),
    d: "other",
  });
  const other = tree.createBuildDirectory("other");
  const otherRoot = await other.attachInputRoot([], source.addTree({})).catch(() => undefined);
  assert.equal(otherRoot, undefined, "the build directory itself exists");
  const elsewhere = await other.attachInputRoot(["x"], source.addTree({ z: "same" }));
  const [a, b, c, d] = await Promise.all(["a", "b", "c", "d"].map((name) => lookup(root, name)));
  const z = await lookup(elsewhere, "z");
  assert.deepEqual(a!.handle, b!.handle);
  assert.deepEqual(a!.handle, z.handle);
  assert.notDeepEqual(a!.handle, c!.handle);
  const all = await Promise.all([a!, z, c!, d!].map(attributesOf));
  assert.deepEqual(all[0], all[1]);
  assert.equal(new Set(all.map(({ fileId }) => fileId)).size, 3);
  assert.deepEqual(
    all.map(({ mode, size, linkCount }) => [mode, size, linkCount]),
    [
      [0o444, 4, 9999],
      [0o444, 4, 9999],
      [0o555, 4, 9999],
      [0o444, 5, 9999],
    ],
  );
  assert.equal(all[0]!.modifyTime.seconds, 946684800);
  assert.ok(all.every(({ fileId }) => fileId >= 2 ** 52 && Number.isSafeInteger(fileId)));
});

test("a CAS file is found again by its handle, also when no directory has it", async () => {
  const { tree, root, build } = await makeFixture({ dir: { tool: executable("content") } });
  const tool = await lookup(await lookup<Directory>(root, "dir"), "tool");
  const handle = Uint8Array.from(tool.handle);
  const found = (await tree.resolve(handle)) as RegularFile;
  handle.fill(0);
  assert.deepEqual(await attributesOf(found), await attributesOf(tool));
  assert.equal((await contentOf(found)).toString(), "content");
  await build.remove();
  assert.equal((await contentOf((await tree.resolve(tool.handle))!)).toString(), "content");
});

test("handles that the tree cannot have made are stale", async () => {
  const { tree, root } = await makeFixture({ a: "x" });
  const { tree: earlier, root: earlierRoot } = await makeFixture({ a: "x" });
  const file = Buffer.from((await lookup(root, "a")).handle);
  const directory = Buffer.from(root.handle);
  const changed = (handle: Buffer, at: number) => {
    const copy = Buffer.from(handle);
    copy[at]! ^= 0xff;
    return copy;
  };
  const hostile = [
    Buffer.alloc(0),
    Buffer.alloc(1),
    Buffer.alloc(128, 2),
    file.subarray(0, -1),
    Buffer.concat([file, file]),
    changed(file, 0),
    changed(file, 1),
    changed(file, 2),
    changed(file, 5),
    changed(directory, 0),
    changed(directory, 7),
    changed(directory, 15),
    changed(file, file.length - 1),
    Buffer.from((await lookup(earlier.root, "action")).handle),
    Buffer.from((await lookup(earlierRoot, "a")).handle),
    directory.subarray(0, 8),
  ];
  for (const handle of hostile) {
    assert.equal(tree.resolve(handle), undefined, handle.toString("hex"));
  }
  assert.equal(earlier.resolve(directory), undefined, "another run's handle");
  assert.equal(tree.resolve(directory), root);
});

test("symlinks of the input root keep their bytes and their inode", async () => {
  const { root, tree } = await makeFixture({ l: symlink("caf\xe9/../x") });
  const link = await lookup<TreeSymlink>(root, "l");
  assert.deepEqual(Buffer.from(link.target), Buffer.from("caf\xe9/../x", "latin1"));
  assert.equal(await root.lookup("l"), link);
  assert.equal(tree.resolve(link.handle), link);
  assert.equal((await attributesOf(link)).size, 9);
});

test("removing a build directory while it is fetched makes those who wait see STALE", async () => {
  const { source, root, build, tree, faults } = await makeFixture({ a: "x" });
  source.delayed = true;
  const waiting = outcome(() => root.lookup("a"));
  const removed = build.remove();
  assert.equal(await waiting, STALE);
  await removed;
  assert.equal(await outcome(() => root.lookup("a")), STALE);
  assert.equal(tree.counts().directories, 0);
  assert.deepEqual(faults, []);
});

test("removing a large build directory lets others go on meanwhile", async () => {
  const { root, build, tree } = await makeFixture({});
  for (let i = 0; i < 5000; i++) {
    await root.createDirectory(`d${i}`, USER, {});
  }
  const kept = await lookup<TreeDirectory>(root, "d4999");
  const removal = build.remove();
  assert.equal(await outcome(() => root.remove("d4999")), STALE);
  let turns = 0;
  let ended = false;
  removal.then(() => (ended = true));
  for (; !ended; turns++) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert.ok(turns > 1, `${turns} turns`);
  assert.equal(tree.counts().directories, 0);
  assert.equal(tree.resolve(kept.handle), undefined);
});

test("moving a directory fetches nothing of it", async () => {
  const { source, root } = await makeFixture({ from: { big: { file: "x" } }, to: {} });
  const from = await lookup<Directory>(root, "from");
  const to = await lookup<Directory>(root, "to");
  await from.rename("big", to, "moved");
  const asked = source.directoriesAsked.length;
  assert.deepEqual(await namesIn(to), ["moved"]);
  assert.equal(source.directoriesAsked.length, asked);
  const moved = await lookup<TreeDirectory>(to, "moved");
  assert.equal(moved.parent(), to);
  assert.ok(!moved.isExpanded);
  assert.deepEqual(await namesIn(moved), ["file"]);
});

test("a directory's digest is known until something at or below it changes", async () => {
  const { source, root } = await makeFixture({ a: { b: { c: "x" } }, d: { e: "y" } });
  const a = await lookup<TreeDirectory>(root, "a");
  const b = await lookup<TreeDirectory>(a, "b");
  const d = await lookup<TreeDirectory>(root, "d");
  await namesIn(b);
  assert.deepEqual(a.digest, source.addTree({ b: { c: "x" } }));
  await b.setAttributes({ mode: 0o700 });
  assert.ok(a.digest !== undefined, "modes of directories are not part of it");
  await b.remove("c");
  assert.deepEqual([root.digest, a.digest, b.digest], [undefined, undefined, undefined]);
  assert.deepEqual(d.digest, source.addTree({ e: "y" }));
});

test("actions share what the CAS says about a directory, and differ in what they do to it", async () => {
  const inputs = { dir: { a: "1", b: "2" } };
  const { tree, source, root } = await makeFixture(inputs);
  const other = await tree.createBuildDirectory("other").attachInputRoot(["root"], source.addTree(inputs));
  const dir = await lookup<Directory>(root, "dir");
  const otherDir = await lookup<Directory>(other, "dir");
  assert.notDeepEqual(dir.handle, otherDir.handle);
  await dir.remove("a");
  await dir.createFile("c", USER, {});
  assert.deepEqual(await namesIn(dir), ["b", "c"]);
  assert.deepEqual(await namesIn(otherDir), ["a", "b"]);
  assert.equal(await outcome(() => dir.rename("b", otherDir, "b2")), FileSystemStatus.XDEV);
  assert.equal(await outcome(async () => otherDir.link("c", await lookup(dir, "c"))), FileSystemStatus.XDEV);
});

test("large directories are listed in one pass over all pages", async () => {
  const files = Array.from({ length: 100_000 }, (_, i) => ({
    name: `f${i}`,
    digest: { instanceName: "", function: SHA256, hash: i.toString(16).padStart(64, "0"), sizeBytes: i },
    isExecutable: false,
  }));
  const { tree, source } = await makeFixture({});
  const digest = source.addDirectory({ files, directories: [], symlinks: [] });
  const root = await tree.createBuildDirectory("large").attachInputRoot(["root"], digest);
  let visits = 0;
  let cookie = 0;
  for (let done = false; !done; ) {
    let page = 0;
    done = (await root.readDirectory(cookie, (_, next) => {
      visits++;
      if (page++ === 100) {
        return false;
      }
      cookie = next;
      return true;
    })) as boolean;
  }
  assert.equal(visits, 100_000 + 999);
  assert.equal(tree.counts().otherNodes + tree.counts().writableFiles, 0, "nothing is kept of files");
});

test("read-only inputs refuse changes and may be linked", async () => {
  const { root } = await makeFixture({ a: "x" }, { inputsReadOnly: true });
  const a = await lookup<RegularFile>(root, "a");
  assert.equal(await outcome(() => root.openForWriting("a", a, false)), ACCESS);
  assert.equal(await outcome(() => a.setAttributes({ size: 0 })), ACCESS);
  assert.equal(await outcome(() => a.setAttributes({ mode: 0o444 })), "ok");
  await root.link("b", a);
  assert.deepEqual((await lookup(root, "b")).handle, a.handle);
  await root.remove("a");
  assert.deepEqual(
    (await list(root)).map(({ name }) => name),
    ["b"],
  );
});

test("shuffled listings have everything, in another order each time, which stays while things come and go", async () => {
  const files = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`file${index}`, `${index}`]));
  const inputs = { ...files, dir: { inner: "x" }, link: symlink("file0") };
  const { tree, source, root } = await makeFixture(inputs, { shuffleDirectoryListings: true });
  const usual = await namesIn((await makeFixture(inputs)).root);
  const other = await tree.createBuildDirectory("other").attachInputRoot(["root"], source.addTree(inputs));
  const listed = await list(root);
  const names = listed.map(({ name }) => name);
  assert.deepEqual(names.toSorted(), usual.toSorted());
  // One of 32! orders each; that two are equal does not happen.
  assert.notDeepEqual(names, usual);
  assert.notDeepEqual(await namesIn(other), names);
  for (const { name, node } of listed) {
    assert.deepEqual((await lookup(root, name)).handle, node.handle);
    if (name.startsWith("file")) {
      assert.equal((await contentOf(node)).toString(), name.slice("file".length));
    }
  }
  assert.deepEqual(await namesIn(await lookup(root, "dir")), ["inner"]);
  assert.equal((await lookup<TreeSymlink>(root, "link")).target.toString(), "file0");

  // A client that has read ten entries goes on after them, whatever happens meanwhile.
  const { cookie } = listed[9]!;
  const [before, behind] = [names.slice(0, 10), names.slice(10)].map((some) =>
    some.find((name) => name !== "dir"),
  );
  await root.remove(before!);
  await root.remove(behind!);
  await root.createFile("new", USER, {});
  const changed = names.slice(12).find((name) => name.startsWith("file"))!;
  await root.openForWriting(changed, await lookup<RegularFile>(root, changed), true);
  const rest: string[] = [];
  await root.readDirectory(cookie, (name) => rest.push(name) > 0);
  assert.deepEqual(rest, [...names.slice(10).filter((name) => name !== behind), "new"]);
});

test("hidden files are not listed and do not keep their directory, but can be looked up", async () => {
  const { root, build } = await makeFixture(
    { dir: { ".nfs1": "left", sub: {} }, ".nfs2": { inner: "x" }, "\u00fc.nfs": "no match", seen: "" },
    { hiddenFiles: /^(\.nfs|\u00fc)/u },
  );
  const dir = await lookup<TreeDirectory>(root, "dir");
  assert.deepEqual((await namesIn(root)).toSorted(), [".nfs2", "dir", "seen", "\u00fc.nfs"].toSorted());
  assert.deepEqual(await namesIn(dir), ["sub"]);
  assert.equal((await contentOf(await lookup(dir, ".nfs1"))).toString(), "left");
  assert.equal(await outcome(() => root.remove("dir")), FileSystemStatus.NOTEMPTY);
  await dir.remove("sub");
  await dir.createFile(".nfs3", USER, {});
  const before = build.quota.fileCount;
  await root.createDirectory("new", USER, {});
  assert.equal(await outcome(() => root.rename("new", root, "dir")), "ok");
  assert.equal(build.quota.fileCount, before - 1, "what was hidden is gone");
  await root.createDirectory("another", USER, {});
  await (await lookup<TreeDirectory>(root, "another")).createFile(".nfs4", USER, {});
  assert.equal(await outcome(() => root.remove("another")), "ok");
  assert.equal(build.quota.fileCount, before - 1);
});
