/**
 * Throughput and latency of src/cas beside bare gRPC against the same storage, which is a process of its own on this
 * machine: `node bench/cas/cas.ts [threads…]`. The figure for RSS is right for the first number of threads only, as
 * what that leaves behind stays in this process.
 */
import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { grpcBackend } from "../../src/cas/backend.ts";
import { createStorageClient, type StorageClientOptions } from "../../src/cas/storage-client.ts";
import { DEFAULT_RETRY_POLICY, SYSTEM_CLOCK } from "../../src/cas/transfer/retry.ts";
import { ServerConnection } from "../../src/cas/transfer/server-connection.ts";
import { defaultLocalStore } from "../../src/config/blobstore/local.ts";
import { type Digest, SHA256 } from "../../src/reapi/digest.ts";
import { readResourceName } from "../../src/reapi/resource-name.ts";
import type { StorageContents } from "./storage-process.ts";

const MiB = 1024 * 1024;
const contents: StorageContents = { smallCount: 4000, smallBytes: 4096, largeBytes: 512 * MiB };

const storage = fork(new URL("storage-process.ts", import.meta.url), [JSON.stringify(contents)]);
const [{ address, small, large }] = (await once(storage, "message")) as [
  { address: string; small: Pick<Digest, "hash" | "sizeBytes">[]; large: Pick<Digest, "hash" | "sizeBytes"> },
];
const digest = (plain: Pick<Digest, "hash" | "sizeBytes">): Digest => ({
  instanceName: "",
  function: SHA256,
  ...plain,
});
const smallDigests = small.map(digest);
const largeDigest = digest(large);

const rows: Record<string, Record<string, string>> = {};
function report(what: string, how: string, figure: string): void {
  rows[what] = { ...rows[what], [how]: figure };
}

/** Median in microseconds of a call done once per item, one after the other. */
async function latency<T>(items: readonly T[], call: (item: T) => unknown): Promise<string> {
  const times: number[] = [];
  for (const item of items) {
    const start = performance.now();
    const result = call(item);
    if (result instanceof Promise) {
      await result;
    }
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  return `${(times[times.length >> 1]! * 1000).toFixed(times[times.length >> 1]! < 0.01 ? 2 : 0)} µs`;
}

/** CPU time of the whole process, threads included, for each of so many. */
async function cpuEach<T>(count: number, work: () => Promise<T>): Promise<{ cpu: string; result: T }> {
  const before = process.cpuUsage();
  const result = await work();
  const { user, system } = process.cpuUsage(before);
  return { cpu: `${((user + system) / count).toFixed(0)} µs`, result };
}

async function throughput(bytes: number, work: () => Promise<unknown>): Promise<string> {
  const start = performance.now();
  await work();
  return `${(bytes / MiB / ((performance.now() - start) / 1000)).toFixed(0)} MiB/s`;
}

async function perSecond(count: number, work: () => Promise<unknown>): Promise<string> {
  const start = performance.now();
  await work();
  return `${(count / ((performance.now() - start) / 1000)).toFixed(0)}/s`;
}

/** Calls for all items, 64 at a time. */
async function atOnce<T>(items: readonly T[], call: (item: T) => unknown): Promise<void> {
  const iterator = items.values();
  await Promise.all(
    Array.from({ length: 64 }, async () => {
      for (const item of iterator) {
        await call(item);
      }
    }),
  );
}

async function bareGrpc(): Promise<void> {
  const how = "bare gRPC";
  const server = { endpoint: { address }, compression: false };
  const connection = new ServerConnection(server, DEFAULT_RETRY_POLICY, SYSTEM_CLOCK);
  const readOne = ({ hash, sizeBytes }: Digest) =>
    connection.storage.batchReadBlobs({ digests: [{ hash, sizeBytes: BigInt(sizeBytes) }] });
  await latency(smallDigests.slice(0, 500), readOne);
  const one = await cpuEach(1000, () => latency(smallDigests.slice(0, 1000), readOne));
  report("small blob, cold", how, one.result);
  report("  its CPU", how, one.cpu);
  const at64 = await cpuEach(2000, () => perSecond(2000, () => atOnce(smallDigests.slice(0, 2000), readOne)));
  report("small blobs, 64 at a time", how, at64.result);
  report("  CPU of one", how, at64.cpu);
  const streamed = await cpuEach(large.sizeBytes / MiB, () =>
    throughput(large.sizeBytes, async () => {
      for await (const _ of connection.byteStream.read({
        resourceName: readResourceName(largeDigest, "identity"),
      })) {
        // Only received.
      }
    }),
  );
  report("large blob, sequential", how, streamed.result);
  report("  CPU of one MiB", how, streamed.cpu);
  connection.close();
}

async function store(how: string, options: Partial<StorageClientOptions>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "cas-bench-"));
  const backend = grpcBackend({ address });
  const open = () =>
    createStorageClient({
      contentAddressableStorage: backend,
      actionCache: backend,
      localStore: defaultLocalStore(directory, 1e10),
      ...options,
    });
  const first = await open();
  const warmUp = smallDigests.slice(0, 500);
  const some = smallDigests.slice(500, 1500);
  const many = smallDigests.slice(1500, 3500);
  await latency(warmUp, (each) => first.read(each, 0, 4096));
  const one = await cpuEach(1000, () => latency(some, (each) => first.read(each, 0, 4096)));
  report("small blob, cold", how, one.result);
  report("  its CPU", how, one.cpu);
  report("small blob, in memory", how, await latency(some, (each) => first.read(each, 0, 4096)));
  const at64 = await cpuEach(many.length, () =>
    perSecond(many.length, () => atOnce(many, (each) => first.read(each, 0, 4096))),
  );
  report("small blobs, 64 at a time", how, at64.result);
  report("  CPU of one", how, at64.cpu);
  const streamed = await cpuEach(large.sizeBytes / MiB, () =>
    throughput(large.sizeBytes, async () => {
      for (let offset = 0; offset < large.sizeBytes; ) {
        offset += (await first.read(largeDigest, offset, MiB)).length;
      }
    }),
  );
  report("large blob, sequential", how, streamed.result);
  report("  CPU of one MiB", how, streamed.cpu);
  report(
    "large blob, from disk",
    how,
    await throughput(large.sizeBytes, async () => {
      for (let offset = 0; offset < large.sizeBytes; ) {
        offset += (await first.read(largeDigest, offset, MiB)).length;
      }
    }),
  );
  report("RSS after all that", how, `${(process.memoryUsage.rss() / MiB).toFixed(0)} MiB`);
  const upload = Buffer.alloc(128 * MiB, crypto.randomUUID());
  report(
    "hash and upload 128 MiB",
    how,
    await throughput(upload.length, () => first.hashAndUpload("", SHA256, upload)),
  );
  await first.close();
  const second = await open();
  report("small blob, first time from disk", how, await latency(some, (each) => second.read(each, 0, 4096)));
  await second.close();
  await rm(directory, { recursive: true, force: true });
}

console.log(`RSS before: ${(process.memoryUsage.rss() / MiB).toFixed(0)} MiB`);
await bareGrpc();
const threads = process.argv.slice(2).map(Number);
for (const transferThreads of threads.length > 0 ? threads : [1]) {
  await store(`${transferThreads} threads`, { transferThreads });
}
console.table(rows);
storage.disconnect();
