import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import type { Route } from "../../../src/cas/blob-server.ts";
import type { Combination, Replication } from "../../../src/cas/combined/combination.ts";
import { createStorageClient, type StorageClient } from "../../../src/cas/storage-client.ts";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import { Replicator } from "../../../src/proto/gen/buildbarn/replicator/replicator_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../../src/reapi/digest.ts";
import { digestOf, FakeStorage } from "./fake-storage.ts";
import { blobError, chunk, localStore, readAll } from "./fixture.ts";

const to =
  (server: number): Route =>
  (instanceName) => ({ server, instanceName });
const local: Replication = { kind: "local" };
const mirrored: Combination = { kind: "mirrored", a: to(0), b: to(1), aToB: local, bToA: local };
const readFallback: Combination = {
  kind: "readFallback",
  primary: to(0),
  secondary: to(1),
  replication: local,
};
const readCaching: Combination = { kind: "readCaching", fast: to(0), slow: to(1), replication: local };

interface Combined extends AsyncDisposable {
  readonly client: StorageClient;
  readonly servers: readonly [FakeStorage, FakeStorage, FakeStorage];
}

/** A client of three servers, for which the last of the combinations decides. */
async function combine(...combinations: Combination[]): Promise<Combined> {
  await using opening = new AsyncDisposableStack();
  const start = async () => opening.adopt(await FakeStorage.start(), (server) => server.stop());
  const servers = [await start(), await start(), await start()] as const;
  const directory = await mkdtemp(join(tmpdir(), "combined-test-"));
  opening.defer(() => rm(directory, { recursive: true, force: true }));
  const backend = {
    servers: servers.map(({ address }) => ({ endpoint: { address }, compression: false })),
    combinations,
    route: ({ instanceName, hash }: Digest) => to(-combinations.length)(instanceName, hash),
  };
  const client = await createStorageClient({
    contentAddressableStorage: backend,
    actionCache: backend,
    localStore: localStore(directory, 2 ** 29),
    memoryCacheSizeBytes: 0,
    chunkSizeBytes: chunk,
    readAheadBytes: 0,
    transferThreads: 0,
    retryPolicy: { maximumAttempts: 2, initialDelayMilliseconds: 1, maximumDelayMilliseconds: 2 },
  });
  opening.defer(() => client.close());
  const opened = opening.move();
  return { client, servers, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

const sizes = { small: 1000, "as large as a message": chunk, large: 3 * chunk + 1 };

/** Resolves when the server has the blob. */
async function arrival(server: FakeStorage, hash: string): Promise<void> {
  while (!server.blobs.has(hash)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

for (const [size, bytes] of Object.entries(sizes)) {
  const content = randomBytes(bytes);

  describe(`a ${size} blob`, () => {
    for (const combination of [readFallback, readCaching, mirrored]) {
      it(`${combination.kind}: is read where it is, and copied to the backend that lacks it`, async () => {
        await using f = await combine(combination);
        const digest = f.servers[1].add(content);
        assert.deepEqual(await readAll(f.client, digest), content);
        await arrival(f.servers[0], digest.hash);
        assert.deepEqual(Buffer.from(f.servers[0].blobs.get(digest.hash)!), content);
      });

      it(`${combination.kind}: is not found if no backend has it`, async () => {
        await using f = await combine(combination);
        await assert.rejects(readAll(f.client, digestOf(content)), blobError(Code.NOT_FOUND));
      });
    }

    it("without replication stays where it is", async () => {
      await using f = await combine({ ...readFallback, replication: { kind: "noop" } });
      const digest = f.servers[1].add(content);
      assert.deepEqual(await readAll(f.client, digest), content);
      await f.client.upload(digest, content);
      assert.equal(f.servers[0].blobs.size, 0);
    });

    for (const [combination, written] of [
      [mirrored, [true, true]],
      [readFallback, [true, false]],
      [readCaching, [false, true]],
    ] as const) {
      it(`${combination.kind}: is stored where Buildbarn stores it`, async () => {
        await using f = await combine(combination);
        const digest = digestOf(content);
        await f.client.upload(digest, content);
        assert.deepEqual(
          f.servers.slice(0, 2).map(({ blobs }) => blobs.has(digest.hash)),
          written,
        );
      });
    }

    it("mirrored: is copied, not sent, when only one backend has it", async () => {
      await using f = await combine(mirrored);
      const digest = f.servers[0].add(content);
      await f.client.upload(digest, {
        sizeBytes: content.length,
        read: () => assert.fail("it was read to be sent"),
      } as never);
      assert.deepEqual(Buffer.from(f.servers[1].blobs.get(digest.hash)!), content);
    });

    it("readCanarying: is read from the replica, and from the source while that is down", async () => {
      let now = 0;
      await using f = await combine({
        kind: "readCanarying",
        source: to(0),
        replica: to(1),
        options: { maximumCount: 10, durationMilliseconds: 1000, now: () => now },
      });
      const [source, replica] = f.servers;
      const here = replica.add(content);
      assert.deepEqual(await readAll(f.client, here), content);
      assert.equal(source.reads.length, 0);

      now = 1000;
      const [lost, there, again] = [1, 2, 3].map((salt) => Buffer.concat([content, Buffer.of(salt)]));
      const digests = [lost, there, again].map((each) => source.add(each!));
      replica.add(again!);
      replica.fail(digests[0]!, ...Array(4).fill({ kind: "break", bytes: 0, code: Code.UNAVAILABLE }));
      replica.add(lost!);
      assert.deepEqual(await readAll(f.client, digests[0]!), lost);
      const asked = replica.reads.length;
      assert.deepEqual(await readAll(f.client, digests[1]!), there);
      assert.equal(replica.reads.length, asked, "the replica is left alone");

      now = 2000;
      const sourceAsked = source.reads.length;
      assert.deepEqual(await readAll(f.client, digests[2]!), again);
      assert.equal(source.reads.length, sourceAsked, "the replica is back");
    });
  });
}

describe("mirrored", () => {
  it("reads from both backends in turn", async () => {
    await using f = await combine(mirrored);
    for (const content of ["a", "b", "c", "d"]) {
      const digest = f.servers[0].add(content);
      f.servers[1].add(content);
      await readAll(f.client, digest);
    }
    assert.deepEqual(
      f.servers.map(({ reads }) => reads.length),
      [2, 2, 0],
    );
  });
});

describe("combinations of combinations", () => {
  it("read through all of them", async () => {
    const outer: Combination = { ...readFallback, primary: to(-1), secondary: to(2) };
    await using f = await combine(mirrored, outer);
    const content = randomBytes(500);
    const digest = f.servers[2].add(content);
    assert.deepEqual(await readAll(f.client, digest), content);
    for (const server of f.servers) {
      await arrival(server, digest.hash);
    }
  });

  it("write action results to every backend that Buildbarn would", async () => {
    const outer: Combination = { ...readFallback, primary: to(-1), secondary: to(2) };
    await using f = await combine(mirrored, outer);
    await f.client.updateActionResult(digestOf("action"), { exitCode: 1 } as never);
    assert.deepEqual(
      f.servers.map(({ actionResults }) => actionResults.size),
      [1, 1, 0],
    );
  });
});

describe("errors", () => {
  it("name the backend", async () => {
    await using f = await combine(mirrored);
    const digest = f.servers[0].add("x");
    f.servers[0].stop();
    await assert.rejects(
      f.client.upload(digest, Buffer.from("x")),
      blobError(Code.UNAVAILABLE, /backend A: /),
    );
  });

  it("of copying what was read fail the read of a small blob", async () => {
    const endpoint = { address: "127.0.0.1:1" };
    await using f = await combine({ ...readFallback, replication: { kind: "remote", endpoint } });
    const digest = f.servers[1].add("y");
    await assert.rejects(
      readAll(f.client, digest),
      blobError(Code.UNAVAILABLE, /ReplicateBlobs at 127\.0\.0\.1:1/),
    );
  });
});

describe("existenceCaching", () => {
  it("does not ask again for what was there, until it is no longer sure", async () => {
    let now = 1;
    await using f = await combine({
      kind: "existenceCaching",
      base: to(0),
      cache: { maximumCount: 10, durationMilliseconds: 1000, now: () => now },
    });
    const [server] = f.servers;
    const digest = server.add("z");
    const upload = async () => {
      await f.client.upload(digest, Buffer.from("z"));
      return server.callCount("FindMissingBlobs");
    };
    assert.deepEqual([await upload(), await upload()], [1, 1]);
    now += 1001;
    assert.equal(await upload(), 2);
  });

  it("takes memory for what it knows, not for what it may", async () => {
    await using f = await combine({
      kind: "existenceCaching",
      base: to(0),
      cache: { maximumCount: 2 ** 40, durationMilliseconds: 1000 },
    });
    const digest = f.servers[0].add("z");
    await f.client.upload(digest, Buffer.from("z"));
    assert.equal(f.servers[0].callCount("FindMissingBlobs"), 1);
  });
});

describe("replicators", () => {
  for (const replication of [
    { kind: "deduplicating", base: local },
    { kind: "concurrencyLimiting", base: local, maximumConcurrency: 1 },
    {
      kind: "queued",
      base: { kind: "deduplicating", base: local },
      cache: { maximumCount: 10, durationMilliseconds: 1e9 },
    },
  ] as const satisfies readonly Replication[]) {
    it(`${replication.kind}: copies each blob`, async () => {
      await using f = await combine({ ...readFallback, replication });
      const digests = Array.from({ length: 20 }, (_, index) => f.servers[1].add(`${index}`));
      await Promise.all(digests.map((digest) => readAll(f.client, digest)));
      assert.equal(f.servers[0].blobs.size, 20);
    });
  }

  it("remote: a server is asked to copy", async () => {
    const server = new Server();
    const asked: string[] = [];
    addService(server, Replicator, {
      replicateBlobs: unary(({ instanceName, blobDigests, digestFunction }) => {
        asked.push(
          ...blobDigests.map(
            ({ hash, sizeBytes }) => `${instanceName} ${digestFunction} ${hash} ${sizeBytes}`,
          ),
        );
        return {};
      }),
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    const endpoint = { address: `127.0.0.1:${port}` };
    await using f = await combine({ ...readFallback, replication: { kind: "remote", endpoint } });
    const digest = f.servers[1].add("y", "main");
    await readAll(f.client, digest);
    assert.deepEqual(asked, [`main 1 ${digest.hash} 1`]);
    server.forceShutdown();
  });
});
