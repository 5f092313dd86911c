import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import fc from "fast-check";
import { FileSystemError, FileSystemStatus } from "../../../src/nfs/file-system.ts";
import { FileContent } from "../../../src/vfs/content/file-content.ts";
import { DirectoryFilePool, type FilePool, MemoryFilePool } from "../../../src/vfs/content/file-pool.ts";
import { MemoryBudget } from "../../../src/vfs/content/own-bytes.ts";
import type { Fault } from "../../../src/vfs/faults.ts";
import { Quota } from "../../../src/vfs/quota.ts";
import { FakeInputSource } from "./fake-input-source.ts";

const folder = mkdtempSync(join(tmpdir(), "file-content-"));
after(() => rmSync(folder, { recursive: true }));

const SMALL_FILE_BYTES = 300;

function setUp(pool: FilePool, limits: { maximumSizeBytes?: number; maximumFileCount?: number } = {}) {
  const source = new FakeInputSource();
  const faults: Fault[] = [];
  const quota = new Quota(limits, (fault) => faults.push(fault));
  const account = {
    quota,
    openFiles: 0,
    report: (fault: Fault) => faults.push(fault),
    tooLate: () => new FileSystemError(FileSystemStatus.STALE),
    noteWait: <T>(settled: Promise<T>) => settled,
  };
  const memory = new MemoryBudget(10_000);
  const places = { source, pool, memory, smallFileBytes: SMALL_FILE_BYTES };
  return { source, faults, quota, account, memory, places };
}

function numbers(length: number, seed: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed) % 251 || 1));
}

async function readAll(content: FileContent): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < content.size; ) {
    const piece = await content.read(at, content.size - at);
    assert.ok(piece.length > 0);
    pieces.push(piece);
    at += piece.length;
  }
  return Buffer.concat(pieces);
}

const offset = fc.nat(900);
const length = fc.integer({ min: 1, max: 500 });
const change = fc.oneof(
  fc.record({ kind: fc.constant("write" as const), offset, length }),
  fc.record({ kind: fc.constant("resize" as const), offset, length }),
  fc.record({ kind: fc.constant("deallocate" as const), offset, length }),
  fc.record({ kind: fc.constant("allocate" as const), offset, length }),
  fc.record({ kind: fc.constant("clone" as const), offset, length }),
);

for (const { name, pool } of [
  { name: "a folder", pool: () => new DirectoryFilePool(folder) },
  { name: "memory", pool: () => new MemoryFilePool(10_000_000) },
]) {
  test(`content in ${name} is what was written, whatever the order`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.option(fc.nat(700), { nil: undefined }),
        fc.array(change, { maxLength: 25 }),
        fc.boolean(),
        async (baseLength, changes, delayed) => {
          const { source, quota, account, memory, places } = setUp(pool());
          source.delayed = delayed;
          source.pieceBytes = 100;
          const initial = baseLength === undefined ? Buffer.alloc(0) : numbers(baseLength, 1);
          const base = baseLength === undefined ? undefined : source.addBlob(initial);
          const content = new FileContent(places, account, base);
          let model: Buffer = Buffer.from(initial);
          let seed = 2;
          for (const { kind, offset, length } of changes) {
            const before = model;
            if (kind === "write") {
              const data = numbers(length, ++seed);
              model = Buffer.alloc(Math.max(before.length, offset + length));
              before.copy(model);
              data.copy(model, offset);
              await content.write(offset, data);
            } else if (kind === "resize" || kind === "allocate") {
              const size = kind === "resize" ? offset : Math.max(offset + length, before.length);
              model = Buffer.alloc(size);
              before.copy(model);
              await (kind === "resize" ? content.resize(offset) : content.allocate(offset, length));
            } else if (kind === "deallocate") {
              model = Buffer.from(before);
              model.fill(0, Math.min(offset, model.length), Math.min(offset + length, model.length));
              await content.deallocate(offset, length);
            } else {
              model = numbers(length, ++seed);
              await content.replaceBy(source.addBlob(model));
              assert.equal(content.digest?.sizeBytes, length);
            }
            assert.equal(content.size, model.length);
          }
          assert.deepEqual(await readAll(content), model);
          assert.deepEqual(Buffer.from(await content.read(50, 20)), model.subarray(50, 70));
          if (content.digest !== undefined) {
            assert.deepEqual(content.digest, source.addBlob(model));
          }
          checkSeek(content, model);
          content.dispose();
          assert.equal(content.spaceUsed, 0);
          assert.deepEqual([quota.fileCount, quota.sizeBytes, memory.usedBytes], [0, 0, 0]);
        },
      ),
      { numRuns: 150 },
    );
    assert.deepEqual(readdirSync(folder), []);
  });
}

/** All that is not zero must be data. */
function checkSeek(content: FileContent, model: Buffer): void {
  for (let at = 0; at < model.length; at++) {
    const data = content.seek(at, "data");
    const hole = content.seek(at, "hole")!;
    const firstNonZero = model.findIndex((byte, i) => i >= at && byte !== 0);
    if (firstNonZero >= 0) {
      assert.ok(data !== undefined && data <= firstNonZero);
    }
    assert.ok(hole >= at && hole <= model.length);
    if (hole < model.length) {
      assert.equal(model[hole], 0);
    }
    assert.ok(data === at || hole === at);
  }
  assert.throws(() => content.seek(model.length, "data"), hasStatus(FileSystemStatus.NXIO));
}

function hasStatus(status: number) {
  return (error: unknown) => error instanceof FileSystemError && error.status === status;
}

test("a private copy reads from the CAS only what is read, and is charged only for what is its own", async () => {
  const { source, quota, account, places } = setUp(new MemoryFilePool(1_000_000));
  const blob = numbers(100_000, 1);
  const content = new FileContent(places, account, source.addBlob(blob));
  assert.deepEqual([quota.fileCount, quota.sizeBytes], [0, 0]);
  await content.write(100_000, Buffer.from("appended"));
  assert.deepEqual(source.readsAsked, []);
  assert.deepEqual([quota.fileCount, quota.sizeBytes], [1, 8]);
  assert.equal(content.digest, undefined);
  assert.deepEqual(await readAll(content), Buffer.concat([blob, Buffer.from("appended")]));
});

test("space is used by the blocks that hold something or were allocated", async () => {
  const block = 4096;
  const { source, account, places } = setUp(new MemoryFilePool(2_000_000));
  const content = new FileContent(places, account, undefined);
  await content.write(2 * block, Buffer.from("x"));
  assert.equal(content.spaceUsed, block);
  await content.write(2 * block - 1, Buffer.from("xyz"));
  assert.equal(content.spaceUsed, 2 * block);
  await content.allocate(0, 1_000_000);
  assert.deepEqual([content.spaceUsed, content.size], [1960 * 512, 1_000_000]);
  assert.equal(content.seek(3 * block, "data"), undefined);
  await content.deallocate(block + 1, 999_999);
  assert.equal(content.spaceUsed, 2 * block);
  await content.resize(block);
  assert.equal(content.spaceUsed, block);
  await content.resize(1_000_000);
  assert.equal(content.spaceUsed, block);

  const copy = new FileContent(places, account, source.addBlob(numbers(10 * block - 1, 1)));
  assert.equal(copy.spaceUsed, 10 * block);
  await copy.write(20 * block, Buffer.from("x"));
  assert.equal(copy.spaceUsed, 11 * block);
  await copy.deallocate(0, 2 * block);
  assert.equal(copy.spaceUsed, 9 * block);
  await copy.deallocate(9 * block, 20 * block);
  assert.equal(copy.spaceUsed, 7 * block);
  await copy.resize(3 * block + 1);
  assert.equal(copy.spaceUsed, 2 * block);
  await copy.replaceBy(source.addBlob(numbers(5 * block, 1)));
  assert.equal(copy.spaceUsed, 5 * block);
});

test("more than the pool has free cannot be allocated, and changes nothing", async () => {
  const block = 4096;
  const { faults, quota, account, places } = setUp(new MemoryFilePool(10 * block), {
    maximumSizeBytes: 30 * block,
  });
  const content = new FileContent(places, account, undefined);
  await content.allocate(0, 10 * block);
  for (const [offset, length] of [
    [0, 20 * block + 1],
    [15 * block, 11 * block],
  ] as const) {
    assert.throws(
      () => content.allocate(offset, length),
      (error: FileSystemError) => error.status === FileSystemStatus.NOSPC,
    );
    assert.deepEqual([content.size, content.spaceUsed, quota.sizeBytes], Array(3).fill(10 * block));
  }
  assert.deepEqual(faults, []);
  await content.allocate(0, 20 * block);
  assert.equal(content.spaceUsed, 20 * block);
  assert.throws(
    () => content.allocate(0, 100 * block),
    (error: FileSystemError) => error.status === FileSystemStatus.DQUOT,
  );
  assert.equal(faults.length, 1);
});

test("a hole in a private copy of any size is made without a byte being read or stored", async () => {
  const pool = new MemoryFilePool(0);
  const { source, quota, account, places } = setUp(pool);
  const size = 2 ** 40;
  const content = new FileContent(places, account, { ...source.addBlob(Buffer.from("x")), sizeBytes: size });
  await content.deallocate(1, size - 2);
  assert.equal(content.digest, undefined);
  assert.deepEqual([content.seek(0, "hole"), content.seek(1, "data")], [1, size - 1]);
  assert.deepEqual(Buffer.from(await content.read(1, 3)), Buffer.alloc(3));
  assert.deepEqual([source.readsAsked, pool.usedBytes, quota.sizeBytes], [[], 0, 0]);
});

test("small files are in memory until they grow or memory is used up", async () => {
  const pool = new MemoryFilePool(1_000_000);
  const { account, memory, places } = setUp(pool);
  const small = new FileContent(places, account, undefined);
  assert.equal(small.write(0, numbers(200, 1)), undefined);
  assert.equal(pool.usedBytes, 0);
  assert.ok(memory.usedBytes >= 200);
  await small.write(200, numbers(200, 2));
  assert.ok(pool.usedBytes > 0);
  assert.equal(memory.usedBytes, 0);

  assert.ok(memory.tryReserve(10_000));
  const poolBytes = pool.usedBytes;
  const other = new FileContent(places, account, undefined);
  await other.write(0, Buffer.from("x"));
  assert.ok(pool.usedBytes > poolBytes);
});

test("what the quota refuses leaves the file as it was", async () => {
  const { faults, account, quota, places } = setUp(new MemoryFilePool(1_000_000), {
    maximumSizeBytes: 100,
    maximumFileCount: 1,
  });
  const content = new FileContent(places, account, undefined);
  await content.write(0, numbers(60, 1));
  assert.throws(() => content.write(50, numbers(51, 2)), hasStatus(FileSystemStatus.DQUOT));
  assert.throws(() => content.resize(101), hasStatus(FileSystemStatus.DQUOT));
  assert.equal(content.size, 60);
  assert.throws(() => new FileContent(places, account, undefined), hasStatus(FileSystemStatus.DQUOT));
  assert.deepEqual([quota.fileCount, quota.sizeBytes], [1, 60]);
  assert.match(faults[0]!.message, /at most 100 bytes/);
  assert.match(faults.at(-1)!.message, /at most 1 files/);
});

test("a pool that is full is ENOSPC, told to the account, and nothing stays charged", async () => {
  const { faults, account, quota, places } = setUp(new MemoryFilePool(65536));
  const content = new FileContent(places, account, undefined);
  await content.write(0, numbers(1000, 1));
  assert.throws(() => content.write(1000, Buffer.alloc(200_000)), hasStatus(FileSystemStatus.NOSPC));
  assert.equal(content.size, 1000);
  assert.equal(quota.sizeBytes, 1000);
  assert.deepEqual(
    faults.map((fault) => fault.name),
    ["FilePoolError"],
  );
});

test("changes under way end before later ones begin, and disposal waits for neither", async () => {
  const { account, quota, places } = setUp(new DirectoryFilePool(folder));
  const content = new FileContent(places, account, undefined);
  const changes = [
    content.write(0, numbers(100_000, 1)),
    content.write(50_000, numbers(100_000, 2)),
    content.resize(60_000),
    content.resize(70_000),
  ];
  assert.ok(changes[0] instanceof Promise);
  await Promise.all(changes);
  const expected = Buffer.alloc(70_000);
  numbers(50_000, 1).copy(expected);
  numbers(10_000, 2).copy(expected, 50_000);
  assert.deepEqual(await readAll(content), expected);

  const last = content.write(0, numbers(100_000, 3));
  const afterDisposal = content.write(0, numbers(100_000, 4));
  content.dispose();
  await last;
  await assert.rejects(async () => afterDisposal, hasStatus(FileSystemStatus.STALE));
  assert.deepEqual([quota.fileCount, quota.sizeBytes], [0, 0]);
});

test("a file of 2^53-1 bytes is possible, a larger one is not", async () => {
  const { account, places } = setUp(new DirectoryFilePool(folder));
  const content = new FileContent(places, account, undefined);
  await content.resize(Number.MAX_SAFE_INTEGER);
  assert.deepEqual(Buffer.from(await content.read(Number.MAX_SAFE_INTEGER - 3, 10)), Buffer.alloc(3));
  assert.throws(
    () => content.write(Number.MAX_SAFE_INTEGER, Buffer.from("x")),
    hasStatus(FileSystemStatus.FBIG),
  );
  content.dispose();
});

test("a private copy has no more of the quota than what it can store", async () => {
  const { source, quota, account, places } = setUp(new MemoryFilePool(10_000_000), {
    maximumSizeBytes: 50_000,
  });
  const base = source.addBlob(numbers(100_000, 1));

  const longer = new FileContent(places, account, base);
  assert.throws(() => longer.resize(2 ** 50), hasStatus(FileSystemStatus.DQUOT));
  await longer.resize(110_000);
  assert.equal(quota.sizeBytes, 10_000, "a hole beyond the base");
  longer.dispose();

  const holes = new FileContent(places, account, base);
  await holes.write(0, numbers(40_000, 2));
  await holes.deallocate(0, 40_000);
  assert.equal(quota.sizeBytes, 40_960, "the pool cannot punch holes");
  assert.throws(() => holes.write(45_056, numbers(20_000, 3)), hasStatus(FileSystemStatus.DQUOT));
  await holes.write(0, numbers(40_000, 4));
  assert.equal(quota.sizeBytes, 40_960, "what is stored is charged once");
  await holes.resize(5000);
  assert.equal(quota.sizeBytes, 8192);
  await holes.resize(0);
  assert.equal(quota.sizeBytes, 0);
  holes.dispose();

  const sparse = new FileContent(places, account, base);
  for (let i = 0; i < 12; i++) {
    await sparse.write(i * 8192, numbers(1, 5));
  }
  assert.equal(quota.sizeBytes, 12 * 4096, "each byte takes a block");
  assert.throws(() => sparse.write(12 * 8192, numbers(1, 6)), hasStatus(FileSystemStatus.DQUOT));
  sparse.dispose();
  assert.deepEqual([quota.fileCount, quota.sizeBytes], [0, 0]);
});

test("a read goes on with the base that it began with while the file is truncated or replaced", async () => {
  for (const replace of [false, true]) {
    const { source, faults, account, places } = setUp(new MemoryFilePool(1_000_000));
    source.delayed = true;
    source.pieceBytes = 10;
    const blob = numbers(100, 1);
    const content = new FileContent(places, account, source.addBlob(blob));
    await content.write(0, Buffer.from("own"));
    const reading = content.read(0, 100);
    await (replace ? content.replaceBy(source.addBlob(numbers(100, 9))) : content.resize(0));
    assert.deepEqual((await reading).subarray(3), blob.subarray(3));
    assert.deepEqual(faults, []);
  }
});

test("a file larger than the pool's file system can hold is EFBIG, and no fault of the worker", async () => {
  const { faults, account, quota, places } = setUp({
    open: () => {
      throw Object.assign(new Error("too large"), { code: "EFBIG" });
    },
    space: () => ({ totalBytes: 0, freeBytes: 0 }),
  });
  const content = new FileContent(places, account, undefined);
  assert.throws(() => content.write(2 ** 45, Buffer.from("x")), hasStatus(FileSystemStatus.FBIG));
  assert.deepEqual([faults, quota.sizeBytes], [[], 0]);
});

test("the pool leaves descriptors to the rest of the worker: ENOSPC, told to the account", async () => {
  const { faults, account, places } = setUp(new DirectoryFilePool(folder, 2));
  const contents = [1, 2, 3].map(() => new FileContent(places, account, undefined));
  const [first, second, third] = contents as [FileContent, FileContent, FileContent];
  await first.write(0, numbers(400, 1));
  await second.write(0, numbers(400, 2));
  assert.throws(() => third.write(0, numbers(400, 3)), hasStatus(FileSystemStatus.NOSPC));
  assert.match(faults[0]!.message, /pool is full: .*raise RLIMIT_NOFILE/);
  await first.resize(0);
  await third.write(0, numbers(400, 3));
  for (const content of contents) {
    content.dispose();
  }
});
