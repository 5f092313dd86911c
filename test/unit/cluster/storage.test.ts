import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { statSync } from "node:fs";
import { mkdir, symlink, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { fromBinary } from "@bufbuild/protobuf";
import {
  Compressor_Value,
  type Directory,
  DirectorySchema,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { computeDigest, type Digest, digestKey, SHA256 } from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";
import { startTestCluster, type TestCluster } from "./harness.ts";

const small = Buffer.from("small content");
const large = randomBytes(1_500_000);
const smallDigest = digestOf(small);
const largeDigest = digestOf(large);

function digestOf(content: Uint8Array): Digest {
  return computeDigest("", SHA256, content);
}

function name({ hash, sizeBytes }: Digest, compressed = false): string {
  return `${compressed ? "compressed-blobs/zstd" : "blobs"}/${hash}/${sizeBytes}`;
}

async function download(
  { byteStream }: TestCluster,
  resourceName: string,
  readOffset = 0,
  readLimit = 0,
): Promise<Buffer> {
  const chunks = [];
  const responses = byteStream.read({
    resourceName,
    readOffset: BigInt(readOffset),
    readLimit: BigInt(readLimit),
  });
  for await (const { data } of responses) {
    chunks.push(data);
  }
  return Buffer.concat(chunks);
}

/** An upload's messages, from `offset` on; with `finish` false it breaks off. */
function* messages(resourceName: string, content: Uint8Array, offset = 0, finish = true) {
  const step = 400_000;
  for (let position = offset; position < content.length; position += step) {
    yield {
      resourceName: position === offset ? resourceName : "",
      writeOffset: BigInt(position),
      data: content.subarray(position, position + step),
      finishWrite: finish && position + step >= content.length,
    };
  }
}

function fails(code: Code, message?: RegExp) {
  return (error: { code: number; message: string }) => {
    assert.equal(error.code, code, error.message);
    if (message) {
      assert.match(error.message, message);
    }
    return true;
  };
}

suite("ContentAddressableStorage", () => {
  test("tells which blobs are missing; the empty one never is", async () => {
    await using cluster = await startTestCluster();
    await cluster.server.storage.putBlob(small);
    const { missingBlobDigests } = await cluster.cas.findMissingBlobs({
      blobDigests: [smallDigest, largeDigest, digestOf(Buffer.alloc(0))].map(digestMessage),
    });
    assert.deepEqual(
      missingBlobDigests.map(({ hash }) => hash),
      [largeDigest.hash],
    );
  });

  test("stores a batch, each blob with a status of its own", async () => {
    await using cluster = await startTestCluster();
    const compressible = Buffer.alloc(10_000, "abc");
    const { responses } = await cluster.cas.batchUpdateBlobs({
      requests: [
        { digest: digestMessage(smallDigest), data: small },
        { digest: digestMessage(largeDigest), data: small },
        {
          digest: digestMessage(digestOf(compressible)),
          data: zstdCompressSync(compressible),
          compressor: Compressor_Value.ZSTD,
        },
        { digest: digestMessage(smallDigest), data: small, compressor: Compressor_Value.ZSTD },
        { digest: { hash: "../../etc/passwd", sizeBytes: 3n }, data: small },
      ],
    });
    assert.deepEqual(
      responses.map(({ status }) => status?.code),
      [Code.OK, Code.INVALID_ARGUMENT, Code.OK, Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT],
    );
    assert.deepEqual(
      Buffer.from(await cluster.server.storage.blobs.read(digestOf(compressible))),
      compressible,
    );
    assert.equal(cluster.server.storage.blobs.has(largeDigest), false);
  });

  test("reads a batch, compressed where the client accepts it", async () => {
    await using cluster = await startTestCluster();
    const compressible = Buffer.alloc(10_000, "abc");
    await cluster.server.storage.putBlob(small);
    await cluster.server.storage.putBlob(compressible);
    const { responses } = await cluster.cas.batchReadBlobs({
      digests: [smallDigest, digestOf(compressible), largeDigest].map(digestMessage),
      acceptableCompressors: [Compressor_Value.ZSTD],
    });
    const [first, second, third] = responses;
    assert.deepEqual(Buffer.from(first!.data), small);
    assert.equal(second!.compressor, Compressor_Value.ZSTD);
    assert.deepEqual(zstdDecompressSync(second!.data), compressible);
    assert.equal(third!.status?.code, Code.NOT_FOUND);
  });

  test("refuses a batch that would not fit into a message", async () => {
    await using cluster = await startTestCluster();
    const digest = { ...digestMessage(smallDigest), sizeBytes: 5_000_000n };
    await assert.rejects(
      cluster.cas.batchReadBlobs({ digests: [digest] }),
      fails(Code.INVALID_ARGUMENT, /Use ByteStream/),
    );
  });

  test("gives a tree in pages, each directory once", async () => {
    await using cluster = await startTestCluster();
    const content = Buffer.from("x");
    const file = { type: "file", isExecutable: false, content } as const;
    const { digest, directories } = await cluster.server.storage.importInputRoot([
      { path: "a/same/f", ...file },
      { path: "b/same/f", ...file },
      { path: "c", type: "directory" },
    ]);
    assert.equal(directories, 6);
    const pages: Directory[][] = [];
    for await (const page of cluster.cas.getTree({ rootDigest: digestMessage(digest), pageSize: 2 })) {
      pages.push(page.directories);
    }
    // The root; "a" and "b", which are equal; "same"; and "c", which is empty.
    assert.deepEqual(
      pages.map((page) => page.length),
      [2, 2],
    );
    assert.deepEqual(
      pages[0]![0]!.directories.map((directory) => directory.name),
      ["a", "b", "c"],
    );
  });
});

suite("ByteStream", () => {
  test("reads any range of a blob", async () => {
    await using cluster = await startTestCluster();
    await cluster.server.storage.putBlob(large);
    for (const [offset, limit] of [
      [0, 0],
      [1_000_001, 0],
      [300_000, 700_001],
      [1_499_999, 5],
      [1_500_000, 0],
    ] as const) {
      const expected = large.subarray(offset, limit === 0 ? undefined : offset + limit);
      assert.ok(
        expected.equals(await download(cluster, name(largeDigest), offset, limit)),
        `${offset}+${limit}`,
      );
    }
    await assert.rejects(download(cluster, name(largeDigest), 1_500_001), fails(Code.OUT_OF_RANGE));
    await assert.rejects(download(cluster, name(largeDigest), -1), fails(Code.OUT_OF_RANGE));
    await assert.rejects(download(cluster, name(smallDigest)), fails(Code.NOT_FOUND));
  });

  test("reads compressed, from an offset of the plain content", async () => {
    await using cluster = await startTestCluster();
    await cluster.server.storage.putBlob(large);
    const compressed = await download(cluster, name(largeDigest, true), 1000);
    assert.ok(zstdDecompressSync(compressed).equals(large.subarray(1000)));
    await assert.rejects(download(cluster, name(largeDigest, true), 0, 10), fails(Code.INVALID_ARGUMENT));
  });

  test("writes plain and compressed", async () => {
    for (const compressed of [false, true]) {
      await using cluster = await startTestCluster();
      const data = compressed ? zstdCompressSync(large) : large;
      const resourceName = `some/instance/uploads/${randomUUID()}/${name(largeDigest, compressed)}/and/more`;
      const { committedSize } = await cluster.byteStream.write(messages(resourceName, data));
      assert.equal(committedSize, BigInt(data.length));
      assert.ok(large.equals(await download(cluster, name(largeDigest))));
    }
  });

  test("ends an upload of what is there already", async () => {
    await using cluster = await startTestCluster();
    await cluster.server.storage.putBlob(large);
    for (const compressed of [false, true]) {
      const resourceName = `uploads/${randomUUID()}/${name(largeDigest, compressed)}`;
      const { committedSize } = await cluster.byteStream.write(messages(resourceName, large));
      assert.equal(committedSize, compressed ? -1n : BigInt(large.length));
      const queried = await cluster.byteStream.queryWriteStatus({ resourceName });
      assert.deepEqual([queried.complete, queried.committedSize], [true, committedSize]);
    }
  });

  test("resumes an upload that broke off", async () => {
    await using cluster = await startTestCluster();
    const resourceName = `uploads/${randomUUID()}/${name(largeDigest)}`;
    await cluster.byteStream.write(messages(resourceName, large.subarray(0, 800_000), 0, false));
    const { committedSize, complete } = await cluster.byteStream.queryWriteStatus({ resourceName });
    assert.deepEqual([committedSize, complete], [800_000n, false]);
    await assert.rejects(
      cluster.byteStream.write(messages(resourceName, large, 700_000)),
      fails(Code.INVALID_ARGUMENT, /800000 bytes of the upload are here/),
    );
    await cluster.byteStream.write(messages(resourceName, large, 800_000));
    assert.ok(large.equals(await download(cluster, name(largeDigest))));
  });

  test("resumes an upload whose client went away", async () => {
    await using cluster = await startTestCluster();
    const resourceName = `uploads/${randomUUID()}/${name(largeDigest)}`;
    const abort = new AbortController();
    const hanging = async function* () {
      yield* messages(resourceName, large.subarray(0, 400_000), 0, false);
      await new Promise((_, reject) =>
        abort.signal.addEventListener("abort", () => reject(new Error("gone"))),
      );
    };
    const upload = cluster.byteStream.write(hanging(), { signal: abort.signal });
    const temporary = join(cluster.folder, "data/cas/tmp/0");
    while ((statSync(temporary, { throwIfNoEntry: false })?.size ?? 0) < 400_000) {
      await setTimeout(5);
    }
    abort.abort();
    await assert.rejects(upload);
    for (let committedSize = 0n; committedSize !== 400_000n; ) {
      ({ committedSize } = await cluster.byteStream.queryWriteStatus({ resourceName }));
    }
    await cluster.byteStream.write(messages(resourceName, large, 400_000));
    assert.ok(cluster.server.storage.blobs.has(largeDigest));
  });

  test("refuses content that is not the digest's", async () => {
    await using cluster = await startTestCluster();
    const other = Buffer.from(large);
    other[700_000]! ^= 1;
    const resourceName = (compressed: boolean) => `uploads/${randomUUID()}/${name(largeDigest, compressed)}`;
    const uploads = [
      messages(resourceName(false), other),
      messages(resourceName(false), Buffer.concat([large, small])),
      messages(resourceName(false), large.subarray(1)),
      messages(resourceName(true), zstdCompressSync(other)),
      messages(resourceName(true), large),
      messages(resourceName(true), zstdCompressSync(large).subarray(0, 1_000_000)),
    ];
    for (const upload of uploads) {
      await assert.rejects(cluster.byteStream.write(upload), fails(Code.INVALID_ARGUMENT));
    }
    assert.equal(cluster.server.storage.blobs.has(largeDigest), false);
  });

  test("refuses resource names that are none", async () => {
    await using cluster = await startTestCluster();
    const { hash } = smallDigest;
    for (const bad of [
      "",
      "blobs",
      `blobs/${hash}`,
      `blobs/${hash}/-1`,
      `blobs/${hash}/1e3`,
      `blobs/../${hash}/3`,
    ]) {
      await assert.rejects(download(cluster, bad), fails(Code.INVALID_ARGUMENT), bad);
      await assert.rejects(cluster.byteStream.write(messages(bad, small)), fails(Code.INVALID_ARGUMENT), bad);
    }
  });
});

suite("Storage", () => {
  test("keeps blobs over a restart; one whose file was cut short is missing", async () => {
    await using cluster = await startTestCluster();
    await cluster.server.storage.putBlob(small);
    await cluster.server.storage.putBlob(large);
    await truncate(cluster.server.storage.blobs.path(largeDigest), 1000);
    const { storage } = await cluster.reopen();
    assert.deepEqual(Buffer.from(await storage.blobs.read(smallDigest)), small);
    assert.equal(storage.blobs.has(largeDigest), true);
    await assert.rejects(storage.blobs.read(largeDigest), /is not in the CAS/);
    assert.equal(storage.blobs.has(largeDigest), false);
  });

  test("counts what clients read", async () => {
    await using cluster = await startTestCluster();
    const { storage } = cluster.server;
    await storage.putBlob(small);
    await storage.putBlob(large);
    await download(cluster, name(largeDigest), 100, 50);
    await download(cluster, name(largeDigest, true), 1_400_000);
    await cluster.cas.batchReadBlobs({ digests: [digestMessage(smallDigest)] });
    const { reads, bytes, byBlob } = storage.statistics();
    assert.deepEqual([reads, bytes], [3, 50 + 100_000 + small.length]);
    const key = ({ hash, sizeBytes }: Digest) => `${hash}-${sizeBytes}`;
    assert.deepEqual(byBlob.get(key(largeDigest)), { reads: 2, bytes: 100_050 });
    assert.deepEqual(byBlob.get(key(smallDigest)), { reads: 1, bytes: small.length });
    storage.resetStatistics();
    assert.equal(storage.statistics().reads, 0);
  });

  test("lets a test fail a read, and hang it in the middle", async () => {
    let fault: (offset: number) => void | Promise<void> = () => {
      throw new Error("broken on purpose");
    };
    await using cluster = await startTestCluster({ onRead: (_, offset) => fault(offset) });
    await cluster.server.storage.putBlob(large);
    await assert.rejects(download(cluster, name(largeDigest)), fails(Code.UNKNOWN, /broken on purpose/));

    const reached = Promise.withResolvers<void>();
    fault = (offset) => {
      if (offset < 500_000) {
        return;
      }
      reached.resolve();
      return new Promise(() => {});
    };
    const abort = new AbortController();
    let received = 0;
    const reading = (async () => {
      const responses = cluster.byteStream.read(
        { resourceName: name(largeDigest) },
        { signal: abort.signal },
      );
      for await (const { data } of responses) {
        received += data.length;
      }
    })();
    await reached.promise;
    abort.abort();
    await assert.rejects(reading, fails(Code.CANCELLED));
    assert.ok(received < large.length);
  });

  test("makes an input root of a folder", async () => {
    await using cluster = await startTestCluster();
    const { storage } = cluster.server;
    const folder = join(cluster.folder, "root");
    await mkdir(join(folder, "bin/empty"), { recursive: true });
    await writeFile(join(folder, "bin/tool"), large, { mode: 0o755 });
    await writeFile(join(folder, "bin/data"), large, { mode: 0o644 });
    await writeFile(join(folder, "z"), small);
    await symlink("bin/tool", join(folder, "link"));
    const { digest, fileDigests, ...counts } = await storage.importDirectory(folder);
    assert.deepEqual(counts, {
      files: 3,
      directories: 3,
      symlinks: 1,
      bytes: 2 * large.length + small.length,
    });
    assert.equal(digestKey(fileDigests.get("bin/tool")!), digestKey(largeDigest));
    const read = async (of: Digest) => fromBinary(DirectorySchema, await storage.blobs.read(of));
    const root = await read(digest);
    assert.deepEqual(
      root.symlinks.map((entry) => [entry.name, entry.target]),
      [["link", "bin/tool"]],
    );
    const [bin] = root.directories;
    const inBin = await read({
      ...digest,
      hash: bin!.digest!.hash,
      sizeBytes: Number(bin!.digest!.sizeBytes),
    });
    assert.deepEqual(
      inBin.files.map((file) => [file.name, file.isExecutable, file.digest?.hash]),
      [
        ["data", false, largeDigest.hash],
        ["tool", true, largeDigest.hash],
      ],
    );
    assert.ok(large.equals(await storage.blobs.read(largeDigest)));
    assert.equal(digestKey((await storage.importDirectory(folder)).digest), digestKey(digest));
    await assert.rejects(
      storage.importInputRoot([{ path: "../escape", type: "directory" }]),
      /not a path below an input root/,
    );
  });
});
