import assert from "node:assert/strict";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { InputDirectory } from "../../../../src/cas/input-source.ts";
import { Code } from "../../../../src/proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../../../src/reapi/digest.ts";
import type { PinnedFiles } from "../../../../src/worker/native/file-cache.ts";
import { placeInputRoot } from "../../../../src/worker/native/input-root.ts";
import { InputTree } from "../../../../src/worker/native/input-tree.ts";
import { executable, symlink, type Tree } from "../../vfs/fake-input-source.ts";
import { FakeContent, makePlaces } from "./places.ts";

const { signal } = new AbortController();
const never = () => Promise.reject(new Error("begun anew"));

/** What is on the disk, as a {@link Tree}'s plain form. */
function treeAt(path: Buffer): unknown {
  const status = lstatSync(path);
  if (status.isSymbolicLink()) {
    return { link: readlinkSync(path, { encoding: "buffer" }).toString("latin1") };
  }
  if (status.isFile()) {
    return `${(status.mode & 0o7777).toString(8)} ${readFileSync(path, "latin1")}`;
  }
  const names = readdirSync(path, { encoding: "buffer" }).map((name) => name.toString("latin1"));
  return Object.fromEntries(
    names.toSorted().map((name) => [name, treeAt(Buffer.concat([path, Buffer.from(`/${name}`, "latin1")]))]),
  );
}

/** The same of what is to be there. */
function expectedTree(content: FakeContent, digest: Digest): unknown {
  const directory = content.directory(digest) as InputDirectory;
  const entries: [string, unknown][] = [
    ...directory.files.map(({ name, digest, isExecutable }): [string, string] => [
      name,
      `${isExecutable ? "555" : "444"} ${Buffer.from(content.read(digest, 0, 1000) as Uint8Array).toString("latin1")}`,
    ]),
    ...directory.symlinks.map(({ name, target }): [string, object] => [name, { link: target }]),
    ...directory.directories.map(({ name, digest }): [string, unknown] => [
      name,
      expectedTree(content, digest),
    ]),
  ];
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Names of any bytes, one char each. */
const name = fc
  .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 12 })
  .map((bytes) => String.fromCharCode(...bytes))
  .filter(
    (text) =>
      !text.includes("/") && text !== "." && text !== ".." && text !== "__proto__" && !/^\d+$/.test(text),
  );

const { tree } = fc.letrec<{ tree: Tree; node: Tree[string] }>((tie) => ({
  tree: fc.dictionary(name, tie("node"), { maxKeys: 5, noNullPrototype: true }) as fc.Arbitrary<Tree>,
  node: fc.oneof(
    { maxDepth: 4 },
    fc.string({ maxLength: 3 }),
    fc.string({ maxLength: 3 }).map(executable),
    name.map((target) => symlink(`a${target}`)),
    tie("tree"),
  ) as fc.Arbitrary<Tree[string]>,
}));

describe("an input root on a local disk", () => {
  it("is what its directories say, whatever their names", async (test) => {
    const places = makePlaces(test, { maximumFileCount: 3 });
    const { buildPath, content, cache } = places;
    const root = join(buildPath, "root");
    await fc.assert(
      fc.asyncProperty(tree, async (tree) => {
        rmSync(root, { recursive: true, force: true });
        mkdirSync(root);
        const digest = content.addTree(tree);
        await placeInputRoot(digest, { buildPath, path: "root" }, content, cache, signal, never);
        assert.deepEqual(treeAt(Buffer.from(root)), expectedTree(content, digest));
        assert.ok(cache.count <= 3);
      }),
      { numRuns: 40 },
    );
  });

  it("asks for each directory and file once", async (test) => {
    const { buildPath, content, cache } = makePlaces(test);
    const same = { file: "file", other: "file", link: symlink("/a/./b//") };
    const digest = content.addTree({ a: same, b: same, c: { same } });
    mkdirSync(join(buildPath, "root"));
    await placeInputRoot(digest, { buildPath, path: "root" }, content, cache, signal, never);
    assert.equal(content.directoriesAsked.length, 3);
    assert.equal(content.readsAsked.length, 1);
    assert.equal(
      lstatSync(join(buildPath, "root/a/file")).ino,
      lstatSync(join(buildPath, "root/c/same/other")).ino,
    );
    assert.equal(readlinkSync(join(buildPath, "root/b/link")), "/a/b/");
  });

  it("is begun anew where a file of the cache has been changed, but not for ever", async (test) => {
    const { buildPath, cachePath, content, cache } = makePlaces(test);
    const digest = content.addTree({ directory: { file: "right" } });
    const root = join(buildPath, "root");
    const place = async (clear: () => Promise<void>) => {
      rmSync(root, { recursive: true, force: true });
      mkdirSync(root);
      await placeInputRoot(digest, { buildPath, path: "root" }, content, cache, signal, clear);
    };
    const change = ({ content = "wrong", mode = 0o444, time = 946_684_800 } = {}) => {
      const file = join(cachePath, readdirSync(cachePath)[0]!);
      rmSync(file);
      writeFileSync(file, content);
      utimesSync(file, time, time);
      chmodSync(file, mode);
    };
    await place(never);
    for (const what of [{ content: "longer" }, { mode: 0o644 }, { time: 946_684_801 }]) {
      change(what);
      let cleared = 0;
      await place(async () => {
        cleared++;
        rmSync(join(root, "directory"), { recursive: true });
      });
      assert.equal(cleared, 1);
      assert.equal(readFileSync(join(root, "directory/file"), "utf8"), "right");
    }

    // Somebody is there each time it is fetched.
    change({ mode: 0o644 });
    await assert.rejects(
      place(async () => {
        rmSync(join(root, "directory"), { recursive: true, force: true });
        const pinned: PinnedFiles = new Map();
        const directory = content.directory(digest) as InputDirectory;
        const { files } = content.directory(directory.directories[0]!.digest) as InputDirectory;
        await cache.pin(files, pinned, signal);
        change({ mode: 0o644 });
        await cache.unpin(pinned);
      }),
      { code: Code.INTERNAL, message: /somebody keeps changing sha256-.*: let commands run as another user/ },
    );
  });

  it("may have a file under more names than its file system allows", async (test) => {
    const { buildPath, content, cache } = makePlaces(test);
    const blob = content.addBlob("same");
    // More than the 65,000 of ext4; other file systems allow more.
    const files = Array.from({ length: 65_100 }, (_, index) => ({
      name: `file${index}`,
      digest: blob,
      isExecutable: true,
    }));
    const digest = content.addDirectory({ files, directories: [], symlinks: [] });
    mkdirSync(join(buildPath, "root"));
    await placeInputRoot(digest, { buildPath, path: "root" }, content, cache, signal, never);
    assert.equal(readdirSync(join(buildPath, "root")).length, files.length);
    const status = lstatSync(join(buildPath, "root/file65099"));
    assert.deepEqual([status.mode & 0o7777, status.mtimeMs], [0o555, 946_684_800_000]);
    assert.equal(readFileSync(join(buildPath, "root/file65099"), "utf8"), "same");
    assert.equal(content.readsAsked.length, 1);
  });

  it("is not made in what a symlink leads to", async (test) => {
    const { folder, buildPath, content, cache } = makePlaces(test);
    const digest = content.addTree({ file: "content" });
    mkdirSync(join(folder, "elsewhere/root"), { recursive: true });
    symlinkSync(join(folder, "elsewhere"), join(buildPath, "action"));
    await assert.rejects(
      placeInputRoot(digest, { buildPath, path: "action/root" }, content, cache, signal, never),
      { code: Code.INTERNAL, message: /cannot make the input root/ },
    );
    assert.deepEqual(readdirSync(join(folder, "elsewhere/root")), []);
  });

  describe("is refused before anything is made of it", () => {
    const nested = (content: FakeContent, depth: number, name: string) => {
      let digest = content.addTree({ file: "" });
      for (let level = 0; level < depth; level++) {
        digest = content.addDirectory({ files: [], directories: [{ name, digest }], symlinks: [] });
      }
      return digest;
    };
    const fetch = (digest: Digest, content: FakeContent) =>
      InputTree.fetch(digest, content, 1000, signal, () => {});

    it("if it is too deep", async () => {
      const content = new FakeContent();
      await fetch(nested(content, 15, "d".repeat(255)), content);
      await fetch(nested(content, 900, "d"), content);
      for (const digest of [nested(content, 16, "d".repeat(255)), nested(content, 5000, "d")]) {
        await assert.rejects(fetch(digest, content), { code: Code.INVALID_ARGUMENT, message: /is too deep/ });
      }
    });

    it("if a few directories stand for more names than any disk has", async () => {
      const content = new FakeContent();
      let digest = content.addTree({ file: "" });
      for (let level = 0; level < 100; level++) {
        const directories = ["a", "b"].map((name) => ({ name, digest }));
        digest = content.addDirectory({ files: [], directories, symlinks: [] });
      }
      await assert.rejects(fetch(digest, content), {
        code: Code.INVALID_ARGUMENT,
        message: /has more than the 1000/,
      });
      assert.equal(content.directoriesAsked.length, 101);
    });
  });
});
