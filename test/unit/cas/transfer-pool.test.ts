import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { contentOf, newIdentity } from "../../../src/cas/local/layout.ts";
import { toPortable } from "../../../src/cas/transfer/portable.ts";
import { DEFAULT_RETRY_POLICY } from "../../../src/cas/transfer/retry.ts";
import { createTransferPool, type TransferPoolOptions } from "../../../src/cas/transfer/transfer-pool.ts";
import type { TransferTask } from "../../../src/cas/transfer/transfer-task.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { ApiServer, endpoints } from "../grpc/kubernetes/api-server.ts";
import { digestOf } from "./fake-storage.ts";
import { blobError, chunk, type Fixture, fetchBlobs, fixture, readAll } from "./fixture.ts";

test("threads fetch small, whole and large blobs alike, and report failures as they are", async () => {
  await using f = await fixture({ transferThreads: 2, readAheadBytes: 4 * chunk });
  for (const size of [1, 1000, chunk, 9 * chunk + 1]) {
    const content = randomBytes(size);
    const digest = f.storage.add(content);
    assert.deepEqual(await readAll(f.client, digest), content);
    const corrupt = f.storage.add(randomBytes(size));
    f.storage.fail(corrupt, ...Array(20).fill({ kind: "corrupt" }));
    await assert.rejects(readAll(f.client, corrupt), blobError(Code.DATA_LOSS, new RegExp(corrupt.hash)));
  }
});

test("a pool starts without a call to a server, unless it is closed", async () => {
  await using f = await fixture();
  const threads = pool(f);
  await threads.start();
  assert.equal(f.storage.calls.size, 0);
  await threads.close();
  await assert.rejects(threads.start(), blobError(Code.UNAVAILABLE, /closed/));
});

test("threads begin with the pool, or late: with the first task for them", async () => {
  await using f = await fixture();
  // Only the tasks that are meant for it are ones that it can do.
  const thread = new URL("dying-thread.ts", import.meta.url);
  const early = pool(f, { thread });
  await assert.rejects(early.start(), blobError(Code.INTERNAL, /thread died/));
  await early.close();
  const late = pool(f, { thread, startThreadsLate: true });
  await late.start();
  const deaths = new Int32Array(new SharedArrayBuffer(8));
  assert.equal(await late.run({ ...hashOfZeros, deaths, times: 0 } as unknown as TransferTask), "survived");
  await late.close();
});

test("what is fetched by threads survives a restart", async () => {
  await using f = await fixture({ transferThreads: 1 });
  const { contents, digests } = await fetchBlobs(f, [10, 100_000, 5 * chunk]);
  await f.client.close();
  f.storage.blobs.clear();
  await using again = await f.reopen();
  for (const [index, digest] of digests.entries()) {
    assert.deepEqual(await readAll(again, digest), contents[index]);
  }
});

function pool(f: Fixture, options: Pick<Partial<TransferPoolOptions>, "thread" | "startThreadsLate"> = {}) {
  return createTransferPool({
    threads: 1,
    ...options,
    servers: [{ endpoint: { address: f.storage.address }, compression: false }],
    retryPolicy: DEFAULT_RETRY_POLICY,
    storeIdentity: newIdentity(),
  });
}

test("a thread looks up addresses at Kubernetes, where they are to be", async () => {
  await using f = await fixture();
  await using api = await ApiServer.start();
  const apiServerHttpClient = { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined };
  // Only threads know the scheme.
  const threads = createTransferPool({
    threads: 1,
    servers: [{ endpoint: { address: "in-threads://storage.blobs:grpc" }, compression: false }],
    retryPolicy: DEFAULT_RETRY_POLICY,
    storeIdentity: newIdentity(),
    kubernetesResolvers: [{ scheme: "in-threads", apiServerUrl: api.url, apiServerHttpClient }],
  });
  const content = new Uint8Array(100_000);
  const digest = toPortable(f.storage.add(content), "");
  const fetched = threads.run(
    {
      kind: "fetchRange",
      server: 0,
      digest,
      offset: 0,
      length: content.length,
      chunkSizeBytes: content.length,
    },
    { chunk() {} },
  );
  const { send } = await api.next();
  send("ADDED", endpoints(["127.0.0.1"], [{ name: "grpc", port: Number(f.storage.address.split(":")[1]) }]));
  await fetched;
  await threads.close();
});

const hashOfZeros = { kind: "hash", function: 1, hashLength: 64, sizeBytes: 10 } as const;
const zeros = { read: (_: number, count: number) => new Uint8Array(count) };

test("failures in a thread come back as errors, and the pool works on until it is closed", async () => {
  await using f = await fixture();
  const threads = pool(f);
  const unreadable = {
    read(): never {
      throw new Error("unreadable");
    },
  };
  await assert.rejects(
    threads.run(hashOfZeros, { source: unreadable }),
    blobError(Code.INTERNAL, /unreadable/),
  );
  await assert.rejects(
    threads.run({ kind: "no such task" } as unknown as TransferTask),
    blobError(Code.INTERNAL),
  );
  assert.equal(await threads.run(hashOfZeros, { source: zeros }), digestOf(Buffer.alloc(10)).hash);
  await threads.close();
  await assert.rejects(threads.run(hashOfZeros, { source: zeros }), blobError(Code.UNAVAILABLE, /closed/));
});

test("a thread that dies is replaced: its tasks go to the next one, but not for ever", async () => {
  await using f = await fixture();
  const threads = pool(f, { thread: new URL("dying-thread.ts", import.meta.url) });
  const deaths = new Int32Array(new SharedArrayBuffer(8));
  const dying = (times: number) => ({ ...hashOfZeros, deaths, times }) as unknown as typeof hashOfZeros;
  assert.equal(await threads.run(dying(1)), "survived");
  await assert.rejects(threads.run(dying(100)), blobError(Code.INTERNAL, /thread died/));
  assert.equal(await threads.run(dying(0)), "survived");
  await threads.close();
});

test("a light task alone is done by the calling thread, what comes meanwhile by the pool's", async () => {
  await using f = await fixture();
  const threads = pool(f, { thread: new URL("dying-thread.ts", import.meta.url) });
  const digest = f.storage.add("small");
  const gate = Promise.withResolvers<void>();
  f.storage.gate = gate.promise;
  const fetch = {
    kind: "fetchBlobs",
    server: 0,
    together: true,
    digests: [toPortable(digest, "")],
    deaths: new Int32Array(new SharedArrayBuffer(8)),
    times: 0,
  } as const;
  const alone = threads.run(fetch);
  assert.equal(await threads.run(fetch), "survived");
  gate.resolve();
  const [frame] = await alone;
  assert.ok(frame instanceof Uint8Array);
  assert.equal(contentOf(Buffer.from(frame.buffer), digest.sizeBytes).toString(), "small");
  const large = { ...fetch, digests: Array(100).fill(fetch.digests[0]) };
  assert.equal(await threads.run(large), "survived");
  await threads.close();
  await assert.rejects(threads.run(fetch), blobError(Code.UNAVAILABLE, /closed/));
});

for (const transferThreads of [0, 1]) {
  test(`close() ends transfers that hang; ${transferThreads} threads`, async () => {
    await using f = await fixture({ transferThreads });
    const digest = f.storage.add(randomBytes(chunk));
    const small = f.storage.add("small");
    f.storage.fail(digest, { kind: "hang", bytes: 10 });
    const reads = Promise.allSettled([f.client.read(digest, 0, 1), f.client.read(small, 0, 1)]);
    while (f.storage.reads.length < 2) {
      await new Promise(setImmediate);
    }
    await f.client.close();
    const [hung] = await reads;
    assert.equal(hung!.status, "rejected");
  });
}
