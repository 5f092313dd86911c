import assert from "node:assert/strict";
import { test } from "node:test";
import { computeDigest, SHA256 } from "../../../src/reapi/digest.ts";
import type { OutputHierarchy } from "../../../src/worker/action/output-hierarchy.ts";
import {
  type OutputUploader,
  uploadOutputs,
  uploadServerLogs,
} from "../../../src/worker/action/output-upload.ts";
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

test("of an action's many outputs only so many files are on their way at a time", async () => {
  const { root } = await makeFixture({});
  for (const directory of ["a", "b"]) {
    const made = await root.createDirectory(directory, USER, {});
    for (let i = 0; i < 400; i++) {
      await made.createFile(`${i}`, USER, {});
    }
  }
  for (const upload of [
    (store: OutputUploader) => uploadOutputs(INPUT_ROOT_OUTPUT, root, store, false),
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
  const { error, outputDirectories } = await uploadOutputs(INPUT_ROOT_OUTPUT, root, store, true);
  assert.equal(error, undefined);
  assert.equal(outputDirectories.length, 1);
  assert.equal(store.messages, 20_002, "the tree, and each directory");
});
