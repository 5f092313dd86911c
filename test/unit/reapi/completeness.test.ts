import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ActionResultSchema,
  DirectorySchema,
  TreeSchema,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";
import { isComplete, type ResultStorage } from "../../../src/reapi/completeness.ts";
import {
  computeDigest,
  type Digest,
  digestKey,
  InvalidDigestError,
  SHA256,
} from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";

const action = computeDigest("main", SHA256, Buffer.from("action"));

/** Blobs in memory. It counts how often each is read. */
class MemoryStorage implements ResultStorage {
  readonly blobs = new Map<string, Uint8Array>();
  readonly reads = new Map<string, number>();

  add(content: Uint8Array | string): Digest {
    const bytes = Buffer.from(content);
    const digest = computeDigest("main", SHA256, bytes);
    this.blobs.set(digestKey(digest), bytes);
    return digest;
  }

  addDirectory(directory: MessageInitShape<typeof DirectorySchema>): Digest {
    return this.add(toBinary(DirectorySchema, create(DirectorySchema, directory)));
  }

  addTree(tree: MessageInitShape<typeof TreeSchema>): Digest {
    return this.add(toBinary(TreeSchema, create(TreeSchema, tree)));
  }

  has(digest: Digest): boolean {
    assert.equal(digest.instanceName, "main");
    return this.blobs.has(digestKey(digest));
  }

  async read(digest: Digest): Promise<Uint8Array> {
    const key = digestKey(digest);
    this.reads.set(key, (this.reads.get(key) ?? 0) + 1);
    const content = this.blobs.get(key);
    if (content === undefined) {
      throw new BlobError(Code.NOT_FOUND, "gone", digest);
    }
    return content;
  }
}

function complete(storage: ResultStorage, result: MessageInitShape<typeof ActionResultSchema>) {
  return isComplete(create(ActionResultSchema, result), action, storage);
}

function file(digest: Digest, name = "f") {
  return { name, digest: digestMessage(digest) };
}

function rootDirectory(digest: Digest) {
  return { outputDirectories: [{ path: "d", rootDirectoryDigest: digestMessage(digest) }] };
}

test("a result is complete as long as nothing that it refers to is gone", async () => {
  const storage = new MemoryStorage();
  const output = storage.add("output");
  const stdout = storage.add("stdout");
  const stderr = storage.add("stderr");
  const inRoot = storage.add("in a tree's root");
  const inChild = storage.add("in a tree's child");
  const tree = storage.addTree({ root: { files: [file(inRoot)] }, children: [{ files: [file(inChild)] }] });
  const deep = storage.add("deep in a directory");
  const leaf = storage.addDirectory({ files: [file(deep)] });
  const middle = storage.addDirectory({ directories: [file(leaf)] });
  const root = storage.addDirectory({ directories: [file(middle)] });
  const result = {
    outputFiles: [{ path: "out", digest: digestMessage(output) }],
    stdoutDigest: digestMessage(stdout),
    stderrDigest: digestMessage(stderr),
    outputDirectories: [
      { path: "tree", treeDigest: digestMessage(tree) },
      { path: "directory", rootDirectoryDigest: digestMessage(root) },
    ],
  };
  const needed = { output, stdout, stderr, inRoot, inChild, tree, deep, leaf, middle, root };
  assert.equal(await complete(storage, result), true);
  for (const [what, digest] of Object.entries(needed)) {
    const content = await storage.read(digest);
    storage.blobs.delete(digestKey(digest));
    assert.equal(await complete(storage, result), false, what);
    storage.add(content);
  }
  assert.equal(await complete(storage, result), true);
});

test("of an output directory that has both, tree and directories are looked at", async () => {
  const storage = new MemoryStorage();
  const tree = storage.addTree({ root: {} });
  const root = storage.addDirectory({ files: [file(computeDigest("main", SHA256, Buffer.from("gone")))] });
  const both = { path: "d", treeDigest: digestMessage(tree), rootDirectoryDigest: digestMessage(root) };
  assert.equal(await complete(storage, { outputDirectories: [both] }), false);
});

test("a directory that occurs many times is read once", async () => {
  const storage = new MemoryStorage();
  let digest = storage.addDirectory({ files: [file(storage.add("x"))] });
  for (let depth = 0; depth < 40; depth++) {
    digest = storage.addDirectory({ directories: [file(digest, "a"), file(digest, "b")] });
  }
  assert.equal(await complete(storage, rootDirectory(digest)), true);
  assert.deepEqual(new Set(storage.reads.values()), new Set([1]));
});

test("directories in a circle, which only a lying storage has, come to an end", async () => {
  const storage = new MemoryStorage();
  const first = storage.add("first");
  const second = storage.addDirectory({ directories: [file(first)] });
  const circle = create(DirectorySchema, { directories: [file(second), file(first, "itself")] });
  storage.blobs.set(digestKey(first), toBinary(DirectorySchema, circle));
  assert.equal(await complete(storage, rootDirectory(first)), true);
  assert.equal(storage.reads.size, 2);
});

test("a tree or directory that is no such message counts as missing", async () => {
  const storage = new MemoryStorage();
  const nonsense = storage.add(Buffer.from([0xff]));
  const treeDigest = digestMessage(nonsense);
  assert.equal(await complete(storage, { outputDirectories: [{ path: "d", treeDigest }] }), false);
  assert.equal(await complete(storage, rootDirectory(nonsense)), false);
});

test("what is no digest is an InvalidDigestError", async () => {
  const storage = new MemoryStorage();
  for (const digest of [undefined, { hash: "nonsense", sizeBytes: 1n }]) {
    const inDirectory = storage.addDirectory({ files: [{ name: "f", ...(digest && { digest }) }] });
    await assert.rejects(complete(storage, rootDirectory(inDirectory)), InvalidDigestError);
    const outputFiles = [{ path: "f", ...(digest && { digest }) }];
    await assert.rejects(complete(storage, { outputFiles }), InvalidDigestError);
  }
});

test("a storage that fails is not a storage that lacks the blob", async () => {
  const storage = new MemoryStorage();
  storage.read = async (digest) => {
    throw new BlobError(Code.UNAVAILABLE, "down", digest);
  };
  await assert.rejects(complete(storage, rootDirectory(action)), /down/);
});
