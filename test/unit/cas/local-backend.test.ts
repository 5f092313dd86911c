import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Route } from "../../../src/cas/blob-server.ts";
import type { Combination } from "../../../src/cas/combined/combination.ts";
import type { LocalStoreOptions } from "../../../src/cas/local/options.ts";
import { createStorageClient, type StorageClient } from "../../../src/cas/storage-client.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../../src/reapi/digest.ts";
import { digestOf, FakeStorage } from "./fake-storage.ts";
import { blobError, chunk, localStore, readAll } from "./fixture.ts";
import { storeFolder } from "./local/stores.ts";

const MiB = 1024 * 1024;
const to =
  (server: number): Route =>
  (instanceName) => ({ server, instanceName });

/** A store of the backend, in a folder of its own. */
function storeIn(folder: string, name: string, sizeBytes = 64 * MiB): LocalStoreOptions {
  const own = join(folder, name);
  mkdirSync(own, { recursive: true });
  return localStore(own, sizeBytes);
}

/** A client for which the last of the combinations decides. Its own cache keeps next to nothing. */
async function open(
  folder: string,
  combinations: readonly Combination[],
  servers: readonly FakeStorage[] = [],
): Promise<StorageClient> {
  const backend = {
    servers: servers.map(({ address }) => ({ endpoint: { address }, compression: false })),
    combinations,
    route: ({ instanceName, hash }: Digest) => to(-combinations.length)(instanceName, hash),
  };
  return createStorageClient({
    contentAddressableStorage: backend,
    actionCache: backend,
    localStore: {
      ...storeIn(folder, "cache"),
      blocks: { kind: "memory", blockBytes: 64 * 1024 },
      persistent: undefined,
    },
    memoryCacheSizeBytes: 0,
    chunkSizeBytes: chunk,
    readAheadBytes: 0,
    transferThreads: 0,
    retryPolicy: { maximumAttempts: 1, initialDelayMilliseconds: 1, maximumDelayMilliseconds: 2 },
  });
}

const sizes = [1, 1000, chunk, 3 * chunk + 1, 2 * MiB, 2 * MiB + 1, 5 * MiB];

describe("a local backend", () => {
  it("has what was stored there, also after a restart, and nothing else", async () => {
    await using folder = await storeFolder();
    const local: Combination = { kind: "local", options: storeIn(folder.path, "a") };
    const contents = sizes.map((size) => randomBytes(size));
    const digests = contents.map((content) => digestOf(content));
    const first = await open(folder.path, [local]);
    for (const [index, digest] of digests.entries()) {
      await assert.rejects(first.message(digest), blobError(Code.NOT_FOUND));
      await first.upload(digest, contents[index]!);
    }
    await first.close();
    await using second = await open(folder.path, [local]);
    for (const [index, digest] of digests.entries()) {
      assert.deepEqual(await readAll(second, digest, 300_000), contents[index]);
    }
    const other = digestOf(randomBytes(10));
    await assert.rejects(second.message(other), blobError(Code.NOT_FOUND, /Object not found/));
  });

  it("is one of several, each in a file of its own", async () => {
    await using folder = await storeFolder();
    const server = await FakeStorage.start();
    const replication = { kind: "local" } as const;
    const combinations: Combination[] = [
      { kind: "local", options: storeIn(folder.path, "a") },
      { kind: "local", options: storeIn(folder.path, "b") },
      { kind: "mirrored", a: to(-1), b: to(-2), aToB: replication, bToA: replication },
      { kind: "readCaching", slow: to(0), fast: to(-3), replication },
    ];
    const content = randomBytes(3 * chunk);
    const digest = server.add(content);
    const client = await open(folder.path, combinations, [server]);
    assert.deepEqual(await readAll(client, digest), content);
    await client.close();
    server.stop();
    for (const alone of combinations.slice(0, 2)) {
      await using reopened = await open(folder.path, [alone]);
      assert.deepEqual(await readAll(reopened, digest), content);
    }
  });

  it("keeps nothing that its digest does not name", async () => {
    await using folder = await storeFolder();
    const local: Combination = { kind: "local", options: storeIn(folder.path, "a") };
    await using client = await open(folder.path, [local]);
    for (const size of [1000, 5 * MiB]) {
      const digest = digestOf(randomBytes(size));
      await assert.rejects(client.upload(digest, randomBytes(size)), blobError(Code.DATA_LOSS, /is corrupt/));
      await assert.rejects(client.read(digest, 0, 10) as Promise<unknown>, blobError(Code.NOT_FOUND));
    }
  });

  it("refuses a blob that does not fit into all of it", async () => {
    await using folder = await storeFolder();
    const local: Combination = { kind: "local", options: storeIn(folder.path, "a", 4 * MiB) };
    await using client = await open(folder.path, [local]);
    const content = randomBytes(8 * MiB);
    await assert.rejects(
      client.upload(digestOf(content), content),
      blobError(Code.INVALID_ARGUMENT, /8388608 bytes, which do not fit/),
    );
    const small = randomBytes(1000);
    await client.upload(digestOf(small), small);
    assert.deepEqual(await readAll(client, digestOf(small)), small);
  });

  it("has a blob only under the instance names below that it was stored for, where these are hierarchical", async () => {
    await using folder = await storeFolder();
    const options = { ...storeIn(folder.path, "a"), hierarchicalInstanceNames: true };
    await using client = await open(folder.path, [{ kind: "local", options }]);
    const content = randomBytes(1000);
    await client.upload(digestOf(content, "a/b"), content);
    // Before the client's own cache has it, for which names are not hierarchical.
    await assert.rejects(client.message(digestOf(content, "a")), blobError(Code.NOT_FOUND));
    assert.deepEqual(await readAll(client, digestOf(content, "a/b/c")), content);
  });

  it("closes the others if one cannot be opened", async () => {
    await using folder = await storeFolder();
    const good: Combination = { kind: "local", options: storeIn(folder.path, "a") };
    const same: Combination = { kind: "local", options: storeIn(folder.path, "a") };
    await assert.rejects(open(folder.path, [good, same]), /in use/);
    const client = await open(folder.path, [good]);
    await client.close();
  });
});
