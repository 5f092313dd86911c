import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { CHECK_BYTES, checkOf, frameCheck, newIdentity } from "../../../src/cas/local/layout.ts";
import { toPortable } from "../../../src/cas/transfer/portable.ts";
import { DEFAULT_RETRY_POLICY } from "../../../src/cas/transfer/retry.ts";
import { RunningHashes } from "../../../src/cas/transfer/running-hashes.ts";
import { createTaskRunner } from "../../../src/cas/transfer/task-runner.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { digestOf } from "./fake-storage.ts";
import { blobError, fixture } from "./fixture.ts";

const chunkBytes = 1000;
const storeIdentity = newIdentity();
const content = randomBytes(4 * chunkBytes + 1);
const digest = digestOf(content);
const chunks = Array.from({ length: 5 }, (_, index) =>
  content.subarray(index * chunkBytes, (index + 1) * chunkBytes),
);
const checks = Buffer.concat(chunks.map((chunk) => checkOf(chunk, storeIdentity)));

/** Receives the chunks from `from` up to, not including, `to`. */
function receive(hashes: RunningHashes, from: number, to: number): void {
  const received = hashes.receiver(digest, chunkBytes, from * chunkBytes);
  for (const chunk of chunks.slice(from, to)) {
    received(chunk, checkOf(chunk, storeIdentity));
  }
}

/** How many chunks have been hashed, which must be right. */
function hashed(hashes: RunningHashes, expected = checks): number | undefined {
  const known = hashes.take(digest, chunkBytes, expected);
  const prefix = content.subarray(0, (known?.chunks ?? 0) * chunkBytes);
  assert.equal(known?.hash.digest("hex"), known && createHash("sha256").update(prefix).digest("hex"));
  return known?.chunks;
}

test("ranges that follow each other are hashed, and forgotten once that was asked for", () => {
  const hashes = new RunningHashes();
  receive(hashes, 0, 2);
  receive(hashes, 2, 5);
  assert.equal(hashed(hashes), 5);
  assert.equal(hashed(hashes), undefined);
});

test("of two ranges at the same time, what comes too early is not hashed", () => {
  const hashes = new RunningHashes();
  const first = hashes.receiver(digest, chunkBytes, 0);
  const second = hashes.receiver(digest, chunkBytes, chunkBytes);
  second(chunks[1]!, checkOf(chunks[1]!, storeIdentity));
  first(chunks[0]!, checkOf(chunks[0]!, storeIdentity));
  second(chunks[2]!, checkOf(chunks[2]!, storeIdentity));
  assert.equal(hashed(hashes), 1);
});

test("behind a gap nothing is hashed; a chunk that comes again is not hashed again", () => {
  const hashes = new RunningHashes();
  receive(hashes, 0, 2);
  receive(hashes, 3, 5);
  receive(hashes, 1, 3);
  assert.equal(hashed(hashes), 3);
});

test("what is received after the hash was taken does not touch it", () => {
  const hashes = new RunningHashes();
  const received = hashes.receiver(digest, chunkBytes, 0);
  received(chunks[0]!, checkOf(chunks[0]!, storeIdentity));
  assert.equal(hashed(hashes), 1);
  received(chunks[1]!, checkOf(chunks[1]!, storeIdentity));
  assert.equal(hashed(hashes), undefined);
});

test("what was received with another check than is stored does not count", () => {
  const hashes = new RunningHashes();
  receive(hashes, 0, 5);
  const others = Buffer.from(checks);
  others[3 * CHECK_BYTES]! ^= 1;
  assert.equal(hashed(hashes, others), undefined);
});

test("what a thread has received it does not read again, unless other chunks are stored", async () => {
  await using f = await fixture();
  const runner = createTaskRunner({
    servers: [{ endpoint: { address: f.storage.address }, compression: false }],
    retryPolicy: DEFAULT_RETRY_POLICY,
    storeIdentity,
  });
  f.storage.add(content);
  const portable = toPortable(digest, "");
  const fetch = async () => {
    const task = { kind: "fetchRange", server: 0, digest: portable, chunkSizeBytes: chunkBytes } as const;
    const received: Buffer[] = [];
    const chunk = (index: number, frame: Uint8Array<ArrayBuffer>) => {
      // As when it goes to another thread.
      received[index] = frameCheck(Buffer.from(structuredClone(frame.buffer, { transfer: [frame.buffer] })));
    };
    const half = 2 * chunkBytes;
    await runner.run({ ...task, offset: 0, length: half }, { chunk });
    await runner.run({ ...task, offset: half, length: content.length - half }, { chunk });
    assert.deepEqual(Buffer.concat(received), checks);
  };
  const verify = (path: string, stored: Uint8Array) =>
    runner.run({
      kind: "verifyPieces",
      digest: portable,
      path,
      chunkSizeBytes: chunkBytes,
      checks: stored,
      pieces: chunks.map(({ length }, index) => ({ position: index * chunkBytes, length })),
    });
  const path = join(f.directory, "pieces");
  await fetch();
  await verify(path, checks);
  await fetch();
  await assert.rejects(verify(path, Buffer.alloc(checks.length)), blobError(Code.INTERNAL, /ENOENT/));
  await writeFile(path, content);
  await verify(path, checks);
  await writeFile(path, Buffer.alloc(content.length));
  await assert.rejects(verify(path, checks), blobError(Code.DATA_LOSS, /corrupt/));
  runner.close();
});
