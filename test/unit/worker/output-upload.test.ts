import assert from "node:assert/strict";
import { test } from "node:test";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import {
  type NodeProperties,
  NodePropertiesSchema,
  TreeSchema,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { computeDigest, SHA256 } from "../../../src/reapi/digest.ts";
import type { OutputHierarchy } from "../../../src/worker/action/outputs/output-hierarchy.ts";
import { nodeDescriber } from "../../../src/worker/action/outputs/output-node-properties.ts";
import {
  type OutputUploader,
  uploadOutputs,
  uploadServerLogs,
} from "../../../src/worker/action/outputs/output-upload.ts";
import { makeFixture, USER } from "../vfs/tree-fixture.ts";

const INPUT_ROOT_OUTPUT: OutputHierarchy = {
  root: { outputs: new Map(), children: new Map() },
  inputRootOutput: { kind: "path", paths: ["."] },
};

/** Counts how many files are under way at most. */
class CountingStore implements OutputUploader {
  readonly instanceName = "";
  readonly digestFunction = SHA256;
  most = 0;
  files = 0;
  messages = 0;
  #underWay = 0;

  async uploadFile() {
    this.files++;
    this.most = Math.max(this.most, ++this.#underWay);
    await new Promise((resolve) => setImmediate(resolve));
    this.#underWay--;
    return computeDigest("", SHA256, Buffer.alloc(0));
  }

  async uploadBytes(): Promise<void> {
    this.messages++;
  }
}

class KeepingStore extends CountingStore {
  message: Uint8Array | undefined;

  override async uploadBytes(_digest?: unknown, bytes?: Uint8Array): Promise<void> {
    this.message = bytes;
  }
}

test("of an action's many outputs only so many files are on their way at a time", async () => {
  const { root } = await makeFixture({});
  for (const directory of ["a", "b"]) {
    const made = await root.createDirectory(directory, USER, {});
    for (let i = 0; i < 400; i++) {
      await made.createFile(`${i}`, USER, {});
    }
  }
  for (const upload of [
    (store: OutputUploader) => uploadOutputs(INPUT_ROOT_OUTPUT, root, store, false, nodeDescriber([])),
    (store: OutputUploader) => uploadServerLogs(root, store),
  ]) {
    const store = new CountingStore();
    await upload(store);
    assert.equal(store.files, 800);
    assert.equal(store.most, 256);
  }
});

test("output directories can be nested deeply", async () => {
  const { root } = await makeFixture({});
  let directory = root;
  for (let depth = 0; depth < 20_000; depth++) {
    directory = await directory.createDirectory("d", USER, {});
  }
  const store = new CountingStore();
  const { error, outputDirectories } = await uploadOutputs(
    INPUT_ROOT_OUTPUT,
    root,
    store,
    true,
    nodeDescriber([]),
  );
  assert.equal(error, undefined);
  assert.equal(outputDirectories.length, 1);
  assert.equal(store.messages, 20_002, "the tree, and each directory");
});

test("files and directories are described by the properties that the command asks for, and by no others", async () => {
  const { root } = await makeFixture({ input: "of the input root" });
  const made = await root.createDirectory("d", USER, { mode: 0o2750 });
  await made.createFile("f", USER, { mode: 0o4711, modifyTime: { seconds: 1_000, nanoseconds: 5_000_000 } });
  await made.createFile("old", USER, { mode: 0o600, modifyTime: { seconds: -(2 ** 40), nanoseconds: 0 } });
  await made.setAttributes({ modifyTime: { seconds: -1, nanoseconds: 500_000_000 } });
  const hierarchy: OutputHierarchy = {
    root: {
      outputs: new Map(["d", "input"].map((path) => [path, { kind: "path", paths: [path] }])),
      children: new Map(),
    },
    inputRootOutput: undefined,
  };
  const json = (properties: NodeProperties | undefined) =>
    properties && toJson(NodePropertiesSchema, properties);
  const describe = async (...names: string[]) => {
    const store = new KeepingStore();
    const { error, outputFiles } = await uploadOutputs(hierarchy, root, store, false, nodeDescriber(names));
    assert.equal(error, undefined);
    const { nodeProperties, files } = fromBinary(TreeSchema, store.message!).root!;
    return [outputFiles[0]!, { nodeProperties }, ...files].map((node) => json(node.nodeProperties));
  };
  assert.deepEqual(await describe(), [undefined, undefined, undefined, undefined]);
  assert.deepEqual(await describe("unix_mode", "unix_mode"), [
    { unixMode: 0o444 },
    { unixMode: 0o2750 },
    { unixMode: 0o4711 },
    { unixMode: 0o600 },
  ]);
  const times = [
    { mtime: "2000-01-01T00:00:00Z" },
    { mtime: "1969-12-31T23:59:59.500Z" },
    { mtime: "1970-01-01T00:16:40.005Z" },
    // No timestamp can say when.
    {},
  ];
  assert.deepEqual(await describe("mtime"), times);
  assert.deepEqual(await describe("mtime", "another"), times);
  assert.deepEqual((await describe("mtime", "unix_mode"))[2], { ...times[2], unixMode: 0o4711 });
});
