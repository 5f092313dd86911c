import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  type Directory,
  FileSystemStatus,
  FileType,
  type Node,
  type RegularFile,
} from "../../../src/nfs/file-system.ts";
import type { Tree } from "./fake-input-source.ts";
import {
  attributesOf,
  contentOf,
  type Fixture,
  isDirectory,
  linkByPath,
  list,
  lookup,
  makeFixture,
  outcome,
  setAttributesByPath,
  USER,
} from "./tree-fixture.ts";

/**
 * Random operations on the tree and on plain objects, which must agree on what each operation ends with and on all
 * that can be seen afterwards.
 */

interface ModelFile {
  kind: "file";
  content: Buffer;
  links: number;
  /** Still as the CAS has it: files with the same content are one inode then. */
  isInput: boolean;
}
interface ModelDirectory {
  kind: "directory";
  entries: Map<string, ModelNode>;
  /** Subdirectories of inputs are not counted. */
  isInput: boolean;
}
interface ModelSymlink {
  kind: "symlink";
  target: string;
}
type ModelNode = ModelFile | ModelDirectory | ModelSymlink;

const INPUTS: Tree = {
  a: "content of a",
  b: "shared content",
  c: { a: "shared content", b: { c: "deep", d: {} }, d: "another" },
  d: { a: {}, b: "shared content" },
};

function toModel(tree: Tree): ModelDirectory {
  const entries = new Map<string, ModelNode>();
  const sorted = Object.entries(tree).sort(
    ([, a], [, b]) => Number(typeof a !== "string") - Number(typeof b !== "string"),
  );
  for (const [name, value] of sorted) {
    entries.set(
      name,
      typeof value === "string"
        ? { kind: "file", content: Buffer.from(value), links: 9999, isInput: true }
        : toModel(value as Tree),
    );
  }
  return { kind: "directory", entries, isInput: true };
}

const name = fc.constantFrom("a", "b", "c", "d", "e");
const folder = fc.array(name, { maxLength: 2 });
const place = fc.record({ folder, name });
const operation = fc.oneof(
  fc.record({ kind: fc.constant("createFile" as const), place }),
  fc.record({ kind: fc.constant("createDirectory" as const), place }),
  fc.record({ kind: fc.constant("createSymlink" as const), place, target: fc.string({ maxLength: 9 }) }),
  fc.record({ kind: fc.constant("remove" as const), place }),
  fc.record({ kind: fc.constant("rename" as const), place, target: place }),
  fc.record({ kind: fc.constant("link" as const), place, target: place }),
  fc.record({
    kind: fc.constant("write" as const),
    place,
    offset: fc.nat(40),
    data: fc.string({ minLength: 1, unit: "binary-ascii" }),
  }),
  fc.record({ kind: fc.constant("overwrite" as const), place }),
  fc.record({ kind: fc.constant("resize" as const), place, size: fc.nat(60) }),
  fc.record({ kind: fc.constant("chmod" as const), place, mode: fc.nat(0o777) }),
  fc.record({ kind: fc.constant("look" as const), place }),
);
type Operation = typeof operation extends fc.Arbitrary<infer T> ? T : never;

const { NOENT, EXIST, NOTEMPTY, INVAL, ISDIR, WRONG_TYPE } = FileSystemStatus;

function modelFolder(root: ModelDirectory, path: readonly string[]): ModelDirectory | undefined {
  let node: ModelNode | undefined = root;
  for (const name of path) {
    node = node?.kind === "directory" ? node.entries.get(name) : undefined;
  }
  return node?.kind === "directory" ? node : undefined;
}

async function realFolder(root: Directory, path: readonly string[]): Promise<Directory | undefined> {
  let node: Directory = root;
  for (const name of path) {
    const child = await node.lookup(name);
    if (!isDirectory(child)) {
      return undefined;
    }
    node = child;
  }
  return node;
}

function drop(node: ModelNode): void {
  if (node.kind === "file" && !node.isInput) {
    node.links--;
  }
}

function makePrivate(folder: ModelDirectory, name: string, file: ModelFile): ModelFile {
  if (!file.isInput) {
    return file;
  }
  const copy: ModelFile = { kind: "file", content: file.content, links: 1, isInput: false };
  folder.entries.set(name, copy);
  return copy;
}

function isSame(a: ModelNode, b: ModelNode): boolean {
  return (
    a === b ||
    (a.kind === "file" && b.kind === "file" && a.isInput && b.isInput && a.content.equals(b.content))
  );
}

function isWithin(outer: ModelNode, inner: ModelDirectory): boolean {
  return (
    outer === inner ||
    (outer.kind === "directory" && [...outer.entries.values()].some((child) => isWithin(child, inner)))
  );
}

function resized(content: Buffer, size: number): Buffer {
  const result = Buffer.alloc(size);
  content.copy(result);
  return result;
}

function applyToModel(root: ModelDirectory, operation: Operation): "ok" | FileSystemStatus {
  const { folder: path, name } = operation.place;
  const folder = modelFolder(root, path);
  if (folder === undefined) {
    return "ok";
  }
  const node = folder.entries.get(name);
  switch (operation.kind) {
    case "createFile":
    case "createDirectory":
    case "createSymlink": {
      if (node !== undefined) {
        return EXIST;
      }
      folder.entries.set(
        name,
        operation.kind === "createFile"
          ? { kind: "file", content: Buffer.alloc(0), links: 1, isInput: false }
          : operation.kind === "createDirectory"
            ? { kind: "directory", entries: new Map(), isInput: false }
            : { kind: "symlink", target: operation.target },
      );
      return "ok";
    }
    case "look":
      return "ok";
    case "remove":
      if (node === undefined) {
        return NOENT;
      }
      if (node.kind === "directory" && node.entries.size > 0) {
        return NOTEMPTY;
      }
      drop(node);
      folder.entries.delete(name);
      return "ok";
    case "rename": {
      const target = modelFolder(root, operation.target.folder);
      if (target === undefined) {
        return "ok";
      }
      if (node === undefined) {
        return NOENT;
      }
      if (isWithin(node, target)) {
        return INVAL;
      }
      const replaced = target.entries.get(operation.target.name);
      if (replaced !== undefined) {
        if (isSame(node, replaced)) {
          return "ok";
        }
        if ((node.kind === "directory") !== (replaced.kind === "directory")) {
          return EXIST;
        }
        if (replaced.kind === "directory" && replaced.entries.size > 0) {
          return NOTEMPTY;
        }
        drop(replaced);
        target.entries.delete(operation.target.name);
      }
      folder.entries.delete(name);
      target.entries.set(operation.target.name, node);
      return "ok";
    }
    case "link": {
      const target = modelFolder(root, operation.target.folder);
      if (target === undefined || node?.kind !== "file") {
        return "ok";
      }
      const file = makePrivate(folder, name, node);
      if (target.entries.has(operation.target.name)) {
        return EXIST;
      }
      file.links++;
      target.entries.set(operation.target.name, file);
      return "ok";
    }
    case "write":
    case "overwrite":
    case "resize": {
      if (node === undefined) {
        return NOENT;
      }
      if (node.kind === "directory") {
        return operation.kind === "resize" ? INVAL : ISDIR;
      }
      if (node.kind === "symlink") {
        return operation.kind === "resize" ? INVAL : WRONG_TYPE;
      }
      if (operation.kind === "resize" && node.isInput && node.content.length === operation.size) {
        return "ok";
      }
      const file = makePrivate(folder, name, node);
      if (operation.kind === "write") {
        const data = Buffer.from(operation.data);
        file.content = resized(file.content, Math.max(file.content.length, operation.offset + data.length));
        data.copy(file.content, operation.offset);
      } else {
        file.content = resized(file.content, operation.kind === "resize" ? operation.size : 0);
      }
      return "ok";
    }
    case "chmod":
      if (node === undefined) {
        return NOENT;
      }
      if (node.kind === "file" && operation.mode !== 0o444) {
        makePrivate(folder, name, node);
      }
      return "ok";
  }
}

async function applyToTree({ root }: Fixture, operation: Operation): Promise<void> {
  const { folder: path, name } = operation.place;
  const folder = await realFolder(root, path);
  if (folder === undefined) {
    return;
  }
  switch (operation.kind) {
    case "createFile":
      await folder.createFile(name, USER, { mode: 0o600 });
      break;
    case "createDirectory":
      await folder.createDirectory(name, USER, { mode: 0o700 });
      break;
    case "createSymlink":
      await folder.createSymlink(name, USER, Buffer.from(operation.target), {});
      break;
    case "remove":
      await folder.remove(name);
      break;
    case "rename":
    case "link": {
      const target = await realFolder(root, operation.target.folder);
      if (target === undefined) {
        break;
      }
      if (operation.kind === "rename") {
        await folder.rename(name, target, operation.target.name);
      } else if ((await folder.lookup(name))?.type === FileType.REGULAR) {
        await linkByPath(folder, name, target, operation.target.name);
      }
      break;
    }
    case "write": {
      const file = await folder.openForWriting(name, (await folder.lookup(name)) as RegularFile, false);
      await file.write(operation.offset, Buffer.from(operation.data), false);
      break;
    }
    case "overwrite": {
      const file = await folder.openForWriting(name, (await folder.lookup(name)) as RegularFile, true);
      await file.setAttributes({ size: 0 });
      break;
    }
    case "resize":
    case "chmod": {
      if ((await folder.lookup(name)) === undefined) {
        await folder.remove(name);
      }
      const changes = operation.kind === "resize" ? { size: operation.size } : { mode: operation.mode };
      if (isDirectory(await folder.lookup(name)) && operation.kind === "chmod") {
        break;
      }
      await setAttributesByPath(folder, name, changes);
      break;
    }
    case "look":
      await folder.lookup(name);
      break;
  }
}

async function compare(directory: Directory, model: ModelDirectory, pageLength: number): Promise<void> {
  const entries = await list(directory, pageLength);
  assert.deepEqual(entries.map(({ name }) => name).sort(), [...model.entries.keys()].sort());
  const subdirectories = [...model.entries.values()].filter(({ kind }) => kind === "directory");
  assert.equal((await attributesOf(directory)).linkCount, model.isInput ? 1 : 2 + subdirectories.length);
  assert.ok(entries.every(({ cookie }, i) => cookie >= 3 && (i === 0 || cookie > entries[i - 1]!.cookie)));
  for (const { name, node } of entries) {
    const expected = model.entries.get(name)!;
    assert.deepEqual((await directory.lookup(name))!.handle, node.handle);
    if (expected.kind === "directory") {
      assert.ok(isDirectory(node), name);
      assert.equal(node.parent(), directory);
      await compare(node, expected, pageLength);
    } else if (expected.kind === "symlink") {
      assert.ok(node.type === FileType.SYMLINK, name);
      assert.equal(Buffer.from(node.target).toString(), expected.target);
    } else {
      assert.ok(node.type === FileType.REGULAR, name);
      assert.equal(node.immutable, expected.isInput);
      assert.deepEqual(await contentOf(node), expected.content);
      const { linkCount, size } = await attributesOf(node);
      assert.equal(linkCount, expected.links);
      assert.equal(size, expected.content.length);
    }
  }
}

test("the tree does what a tree of plain objects does", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(operation, { maxLength: 40 }),
      fc.boolean(),
      fc.integer({ min: 1, max: 4 }),
      async (operations, delayed, pageLength) => {
        const fixture = await makeFixture(INPUTS, { smallFileBytes: 30 });
        fixture.source.delayed = delayed;
        const model = toModel(INPUTS);
        for (const operation of operations) {
          const expected = applyToModel(model, operation);
          assert.equal(
            await outcome(() => applyToTree(fixture, operation)),
            expected,
            JSON.stringify(operation),
          );
          // Else lookups of other files with the same content would give private copies too.
          fixture.clock.milliseconds += 10_000;
        }
        await compare(fixture.root, model, pageLength);
        for (const { node } of await list(fixture.root)) {
          assert.deepEqual((await fixture.tree.resolve(node.handle))?.handle, node.handle);
        }

        await fixture.build.remove();
        const { quota } = fixture.build;
        assert.deepEqual(
          [quota.fileCount, quota.sizeBytes, quota.nodes, fixture.pool.usedBytes],
          [0, 0, 0, 0],
        );
        assert.deepEqual(Object.values(fixture.tree.counts()), [0, 0, 0, 0, 0, 0]);
        assert.equal(await fixture.tree.resolve(fixture.root.handle), undefined);
      },
    ),
    { numRuns: 300 },
  );
});

test("operations at the same time leave a whole tree", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { minLength: 2, maxLength: 30 }), async (operations) => {
      const fixture = await makeFixture(INPUTS, { smallFileBytes: 30 });
      const { tree, build, root, source, pool } = fixture;
      source.delayed = true;
      await Promise.all(operations.map((operation) => outcome(() => applyToTree(fixture, operation))));

      const reached = new Set<Node>([build.directory]);
      const reach = async (directory: Directory): Promise<void> => {
        for (const { name, node } of await list(directory)) {
          reached.add(node);
          if (isDirectory(node)) {
            assert.equal(node.parent(), directory, name);
            await reach(node);
          } else if (node.type === FileType.REGULAR) {
            await contentOf(node);
          }
        }
      };
      await reach(build.directory);
      const counts = tree.counts();
      const numbered = [...reached].filter((node) => tree.resolve(node.handle) === node);
      assert.equal(counts.directories + counts.writableFiles + counts.otherNodes, numbered.length);
      assert.ok(reached.has(root));

      await build.remove();
      const { quota } = build;
      assert.deepEqual([quota.fileCount, quota.sizeBytes, quota.nodes, pool.usedBytes], [0, 0, 0, 0]);
      assert.deepEqual(Object.values(tree.counts()), [0, 0, 0, 0, 0, 0]);
    }),
    { numRuns: 200 },
  );
});

test("names that nobody removes are listed exactly once while the directory changes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(59), { maxLength: 60 }),
      fc.integer({ min: 1, max: 7 }),
      async (removals, pageLength) => {
        const inputs: Record<string, string> = {};
        for (let i = 0; i < 60; i++) {
          inputs[`f${i}`] = "x";
        }
        const { root } = await makeFixture(inputs);
        const pending = [...removals];
        const seen: string[] = [];
        let made = 0;
        for (let cookie = 0, done = false; !done; ) {
          let count = 0;
          done = await root.readDirectory(cookie, (name, next) => {
            if (count++ === pageLength) {
              return false;
            }
            seen.push(name);
            cookie = next;
            return true;
          });
          const name = `f${pending.pop()}`;
          if ((await root.lookup(name)) !== undefined) {
            await root.remove(name);
          }
          if (made < 20) {
            await root.createFile(`new${made++}`, USER, {});
          }
        }
        const left = (await list(root)).map(({ name }) => name);
        assert.equal(new Set(seen).size, seen.length);
        for (const name of left) {
          assert.ok(seen.includes(name) || name.startsWith("new"), name);
        }
        assert.ok(await lookup(root, "new0"));
      },
    ),
    { numRuns: 50 },
  );
});
