import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  mkdirSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import { Semaphore } from "../../../../src/async/semaphore.ts";
import { readAll, sizedSource } from "../../../../src/cas/transfer/upload-source.ts";
import { FileSystemStatus, FileType } from "../../../../src/nfs/file-system.ts";
import { Code } from "../../../../src/proto/gen/google/rpc/code_pb.ts";
import type { ActionNode } from "../../../../src/worker/action/action-files.ts";
import { NativeDirectory, NativeFile, NativeSymlink } from "../../../../src/worker/native/native-files.ts";
import { OpenDirectories, openDirectory } from "../../../../src/worker/native/open-directories.ts";
import { makePlaces } from "./places.ts";

const nobody = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

/** A directory of the disk, as the executor sees it. */
function makeDirectory(test: TestContext) {
  const path = makePlaces(test).buildPath;
  const open = new OpenDirectories({ steps: new Semaphore(8), files: new Semaphore(2) });
  test.after(() => open[Symbol.asyncDispose]());
  return { path, directory: new NativeDirectory({ open, listed: 0 }, "", () => openDirectory(path)) };
}

async function entriesOf(directory: NativeDirectory): Promise<[string, ActionNode][]> {
  const entries: [string, ActionNode][] = [];
  assert.ok(await directory.readDirectory(0, (name, _cookie, node) => entries.push([name, node]) > 0));
  return entries.toSorted(([a], [b]) => (a < b ? -1 : 1));
}

const contentOf = (file: NativeFile) => file.whileOpen((source) => readAll(sizedSource(source)));

async function treeOf(node: ActionNode): Promise<unknown> {
  if (node instanceof NativeDirectory) {
    const entries = await entriesOf(node);
    return Object.fromEntries(
      await Promise.all(entries.map(async ([name, child]) => [name, await treeOf(child)])),
    );
  }
  if (node instanceof NativeFile) {
    return Buffer.from(await contentOf(node)).toString("latin1");
  }
  return node instanceof NativeSymlink ? { link: Buffer.from(node.target).toString("latin1") } : node.type;
}

function makeTree(path: Buffer, tree: unknown): void {
  if (typeof tree === "string") {
    writeFileSync(path, tree, "latin1");
  } else if (typeof tree === "object" && tree !== null && "link" in tree) {
    symlinkSync(Buffer.from(tree.link as string, "latin1"), path);
  } else {
    mkdirSync(path);
    for (const [name, child] of Object.entries(tree as object)) {
      makeTree(Buffer.concat([path, Buffer.from(`/${name}`, "latin1")]), child);
    }
  }
}

const name = fc
  .array(fc.integer({ min: 1, max: 255 }), { minLength: 1, maxLength: 12 })
  .map((bytes) => String.fromCharCode(...bytes))
  .filter((text) => !/[/]|^\.\.?$|^__proto__$|^\d+$|^link$/.test(text));

const { tree } = fc.letrec((tie) => ({
  tree: fc.dictionary(name, tie("node"), { maxKeys: 5, noNullPrototype: true }),
  node: fc.oneof(
    { maxDepth: 4 },
    fc.array(fc.integer({ min: 0, max: 255 })).map((bytes) => String.fromCharCode(...bytes)),
    name.map((link) => ({ link })),
    tie("tree"),
  ),
}));

describe("a directory of an action on a local disk", () => {
  it("has the entries that the disk has, whatever their names", async (test) => {
    const { path, directory } = makeDirectory(test);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(tree, async (tree) => {
        const here = `tree${run++}`;
        makeTree(Buffer.from(join(path, here)), tree);
        const found = await directory.lookup(here);
        const sorted = (value: unknown): unknown =>
          typeof value === "object" && value !== null && !("link" in value)
            ? Object.fromEntries(
                Object.entries(value)
                  .toSorted(([a], [b]) => (a < b ? -1 : 1))
                  .map(([name, child]) => [name, sorted(child)]),
              )
            : value;
        assert.deepEqual(await treeOf(found!), sorted(tree));
      }),
      { numRuns: 40 },
    );
  });

  it("has few directories open, however many there are and however deep", async (test) => {
    const { path, directory } = makeDirectory(test);
    let deep = join(path, "deep");
    mkdirSync(deep);
    for (let level = 0; level < 300; level++) {
      mkdirSync(join(path, `wide${level}`));
      writeFileSync(join(path, `wide${level}/file`), "content");
      deep = join(deep, "d");
      mkdirSync(deep);
    }
    const before = readdirSync("/proc/self/fd").length;
    let most = 0;
    const visit = async (node: ActionNode): Promise<number> => {
      most = Math.max(most, readdirSync("/proc/self/fd").length - before);
      if (!(node instanceof NativeDirectory)) {
        return 1;
      }
      const counts = await Promise.all((await entriesOf(node)).map(([, child]) => visit(child)));
      return counts.reduce((sum, count) => sum + count, 1);
    };
    assert.equal(await visit(directory), 1 + 300 * 2 + 301);
    assert.ok(most <= 128 + 4 * 8, `${most} descriptors`);
  });

  it("tells what is neither a file nor a directory, and opens none of it", async (test) => {
    const { path, directory } = makeDirectory(test);
    execFileSync("mkfifo", [join(path, "fifo")]);
    assert.equal((await directory.lookup("fifo"))?.type, FileType.FIFO);
    assert.equal(await directory.lookup("absent"), undefined);
  });

  it("notices what takes the place of a file or directory, and follows no symlink there", async (test) => {
    const { path, directory } = makeDirectory(test);
    const replace = (name: string, make: () => void) => {
      rmSync(join(path, name), { recursive: true });
      make();
    };
    for (const make of [
      () => symlinkSync("/etc/passwd", join(path, "entry")),
      () => execFileSync("mkfifo", [join(path, "entry")]),
      () => mkdirSync(join(path, "entry")),
    ]) {
      writeFileSync(join(path, "entry"), "content");
      const file = (await directory.lookup("entry")) as NativeFile;
      replace("entry", make);
      await assert.rejects(contentOf(file), /ELOOP|replaced|EISDIR/);
      rmSync(join(path, "entry"), { recursive: true });
    }
    writeFileSync(join(path, "entry"), "content");
    const moved = (await directory.lookup("entry")) as NativeFile;
    renameSync(join(path, "entry"), join(path, "elsewhere"));
    symlinkSync("elsewhere", join(path, "entry"));
    await assert.rejects(contentOf(moved), /ELOOP/);
    mkdirSync(join(path, "directory"));
    const unopened = (await directory.lookup("directory")) as NativeDirectory;
    replace("directory", () => symlinkSync("/etc", join(path, "directory")));
    await assert.rejects(async () => unopened.lookup("passwd"), {
      code: Code.INTERNAL,
      message: /ELOOP|ENOTDIR/,
    });
  });

  it("does not take another directory for one that it has to open again", async (test) => {
    const { path, directory } = makeDirectory(test);
    mkdirSync(join(path, "first"));
    const first = (await directory.lookup("first")) as NativeDirectory;
    assert.equal(await first.lookup("file"), undefined);
    // So many others that it is closed meanwhile.
    for (let other = 0; other < 200; other++) {
      mkdirSync(join(path, `other${other}`));
      await ((await directory.lookup(`other${other}`)) as NativeDirectory).lookup("file");
    }
    renameSync(join(path, "first"), join(path, "gone"));
    mkdirSync(join(path, "first"));
    writeFileSync(join(path, "first/file"), "another one's");
    await assert.rejects(async () => first.lookup("file"), { status: FileSystemStatus.STALE });
  });

  it("makes and removes entries", async (test) => {
    const { path, directory } = makeDirectory(test);
    const made = await directory.createDirectory("made", nobody, { mode: 0o755 });
    await made.createDirectory("below", nobody, { mode: 0o700 });
    writeFileSync(join(path, "made/file"), "content");
    await made.remove("file");
    await made.remove("below");
    await directory.remove("made");
    assert.deepEqual(readdirSync(path), []);
    await assert.rejects(async () => directory.createDirectory("no/such/place", nobody, { mode: 0o700 }), {
      code: Code.INTERNAL,
      message: /ENOENT/,
    });
  });

  it("has a file as long as it is when it is read", async (test) => {
    const { path, directory } = makeDirectory(test);
    writeFileSync(join(path, "file"), "x".repeat(200_000));
    const file = (await directory.lookup("file")) as NativeFile;
    assert.equal(file.attributes().size, 200_000);
    assert.equal((await file.read(199_990, 100)).length, 10);
    truncateSync(join(path, "file"), 100_000);
    assert.equal((await contentOf(file)).length, 100_000);
    await assert.rejects(
      file.whileOpen(async (source) => {
        truncateSync(join(path, "file"), 70_000);
        return readAll(sizedSource(source));
      }),
      /changed while it was read/,
    );
    await assert.rejects(
      file.whileOpen(async (source) => {
        const content = await readAll(sizedSource(source));
        utimesSync(join(path, "file"), 1, 1);
        return content;
      }),
      /changed while it was read/,
    );
  });

  it("has modes, and times before 1970, too", async (test) => {
    const { path, directory } = makeDirectory(test);
    mkdirSync(join(path, "folder"), { mode: 0o1750 });
    writeFileSync(join(path, "file"), "", { mode: 0o640 });
    execFileSync("touch", ["--date=1969-12-31T23:59:58.25Z", join(path, "folder")]);
    execFileSync("touch", ["--date=2001-02-03T04:05:06.789012345Z", join(path, "file")]);
    const folder = (await directory.lookup("folder")) as NativeDirectory;
    assert.deepEqual(await folder.attributes(), {
      mode: 0o1750,
      modifyTime: { seconds: -2, nanoseconds: 250_000_000 },
    });
    assert.deepEqual(((await directory.lookup("file")) as NativeFile).attributes(), {
      mode: 0o640,
      size: 0,
      modifyTime: { seconds: 981_173_106, nanoseconds: 789_012_345 },
    });
  });
});
