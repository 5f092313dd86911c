import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import type { InputDirectory } from "../../../src/cas/input-source.ts";
import { FileSystemStatus } from "../../../src/nfs/file-system.ts";
import { DirectorySchema } from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { computeDigest, type Digest, SHA256 } from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";
import { LookAhead } from "../../../src/vfs/directories/look-ahead.ts";
import { FileTree, MemoryFilePool, TreeDirectory } from "../../../src/vfs/index.ts";
import { fixture as storageFixture } from "../cas/fixture.ts";
import { list, lookup, makeFixture, namesIn, outcome } from "./tree-fixture.ts";

/** Lists a directory, and then each in it before the next: one request after the other, as `find` does. */
async function walk(directory: TreeDirectory): Promise<number> {
  let count = 1;
  for (const { node } of await list(directory, 10)) {
    if (node instanceof TreeDirectory) {
      count += await walk(node);
    }
  }
  return count;
}

const digestOf = (text: string): Digest => computeDigest("", SHA256, Buffer.from(text));

describe("look-ahead", () => {
  it("has a walk make one call of storage for each level of the tree", async () => {
    await using f = await storageFixture();
    const add = (path: string, depth: number): Digest => {
      const directories = Array.from({ length: depth === 0 ? 0 : 4 }, (_, index) => ({
        name: `d${index}`,
        digest: digestMessage(add(`${path}/${index}`, depth - 1)),
      }));
      const symlinks = [{ name: "where", target: `/${path}` }];
      return f.storage.add(toBinary(DirectorySchema, create(DirectorySchema, { directories, symlinks })));
    };
    const tree = new FileTree({ source: f.client, pool: new MemoryFilePool(0) });
    const build = tree.createBuildDirectory("action");
    const root = await build.attachInputRoot(["root"], add("", 4));
    assert.equal(await walk(root), 1 + 4 + 16 + 64 + 256);
    assert.equal(f.storage.callCount("BatchReadBlobs"), 5);
    assert.equal(f.storage.reads.length, 1 + 4 + 16 + 64 + 256);
    await build.remove();
  });

  it("fetches nothing for who looks names up", async () => {
    const { source, root } = await makeFixture({ a: { b: { c: { file: "x" } } }, d: { e: {} } });
    source.delayed = true;
    await lookup(await lookup<TreeDirectory>(await lookup<TreeDirectory>(root, "a"), "b"), "c");
    assert.equal(source.directoriesAsked.length, 3);
  });

  it("does not fail or delay a listing, nor report what nobody has asked for", async () => {
    const { source, root, faults } = await makeFixture({ gone: { x: "" }, there: { y: "" } });
    const gone = await lookup<TreeDirectory>(root, "gone");
    source.lose(gone.digest!);
    source.delayed = true;
    assert.deepEqual(await namesIn(root), ["gone", "there"]);
    await setImmediate();
    assert.deepEqual(await namesIn(await lookup(root, "there")), ["y"]);
    assert.deepEqual(faults, []);
    const asked = source.directoriesAsked.length;
    assert.deepEqual(await namesIn(root), ["gone", "there"]);
    assert.equal(source.directoriesAsked.length, asked, "what failed is not asked for again");
    assert.equal(await outcome(() => namesIn(gone)), FileSystemStatus.IO);
    assert.equal(faults.length, 1);
    source.restore(gone.digest!);
    assert.deepEqual(await namesIn(gone), ["x"]);
  });

  it("ends with the action", async () => {
    const { source, root, build } = await makeFixture({ a: { b: {} }, c: { d: {} } });
    await namesIn(root);
    source.directoriesAsked.length = 0;
    await build.remove();
    build.lookAhead.listed(digestOf("another"), [digestOf("one below")]);
    assert.deepEqual(source.directoriesAsked, []);
  });

  describe("bounds", () => {
    /** Never answers before it is told to. */
    function silentSource() {
      const asked: Digest[] = [];
      const answer = Promise.withResolvers<InputDirectory>();
      const source = {
        directory: (digest: Digest) => {
          asked.push(digest);
          return answer.promise;
        },
        read: () => assert.fail("nobody reads"),
      };
      return { asked, source, answer: () => answer.resolve({ files: [], directories: [], symlinks: [] }) };
    }

    it("has at most 1000 directories on their way, and goes on with the rest", async () => {
      const { asked, source, answer } = silentSource();
      const lookAhead = new LookAhead(source);
      const subdirectories = Array.from({ length: 2500 }, (_, index) => digestOf(`wide ${index}`));
      lookAhead.listed(digestOf("wide"), subdirectories);
      assert.equal(asked.length, 1000);
      lookAhead.listed(digestOf("another"), [digestOf("below another")]);
      lookAhead.listed(subdirectories[0]!, []);
      assert.equal(asked.length, 1000);
      answer();
      await setImmediate();
      for (const index of [1, 2]) {
        lookAhead.listed(subdirectories[index]!, []);
        await setImmediate();
      }
      assert.equal(new Set(asked.map(({ hash }) => hash)).size, 2500);
    });

    it("has at most 4 MiB of messages on their way", () => {
      const { asked, source } = silentSource();
      const large = Array.from({ length: 10 }, (_, index) => ({
        ...digestOf(`large ${index}`),
        sizeBytes: 1 << 20,
      }));
      new LookAhead(source).listed(digestOf("of large ones"), large);
      assert.equal(asked.length, 4);
    });
  });
});
