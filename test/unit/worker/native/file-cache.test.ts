import assert from "node:assert/strict";
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { InputFile } from "../../../../src/cas/input-source.ts";
import { Code } from "../../../../src/proto/gen/google/rpc/code_pb.ts";
import {
  cacheKey,
  checkLinkable,
  type FileCache,
  type PinnedFiles,
} from "../../../../src/worker/native/file-cache.ts";
import { makePlaces } from "./places.ts";

const { signal } = new AbortController();

async function pinAll(cache: FileCache, ...files: InputFile[]): Promise<PinnedFiles> {
  const pinned: PinnedFiles = new Map();
  await cache.pin(files, pinned, signal);
  return pinned;
}

/** What would be there of files that are used one after the other. */
function keptOf(
  sizes: readonly number[],
  uses: readonly number[],
  count: number,
  bytes: number,
): Set<number> {
  let kept: number[] = [];
  for (const use of uses) {
    kept = [...kept.filter((other) => other !== use), use];
    const total = () => kept.reduce((sum, file) => sum + sizes[file]!, 0);
    while (kept.length > count || total() > bytes) {
      kept.shift();
    }
  }
  return new Set(kept);
}

describe("the cache of input files", () => {
  it("has a file and a program of the same content, immutable, with the time of all inputs", async (test) => {
    const { cache, cachePath, content } = makePlaces(test);
    const digest = content.addBlob("content");
    const pinned = await pinAll(
      cache,
      { name: "a", digest, isExecutable: false },
      { name: "b", digest, isExecutable: true },
      { name: "c", digest, isExecutable: true },
    );
    assert.equal(pinned.size, 2);
    const key = `sha256-${digest.hash}-7`;
    assert.deepEqual(readdirSync(cachePath).toSorted(), [`${key}+x`, `${key}-x`]);
    for (const [name, mode] of [
      [`${key}+x`, 0o555],
      [`${key}-x`, 0o444],
    ] as const) {
      const status = statSync(join(cachePath, name));
      assert.equal(status.mode & 0o7777, mode);
      assert.equal(status.mtimeMs, 946_684_800_000);
      assert.equal(readFileSync(join(cachePath, name), "utf8"), "content");
    }
  });

  it("downloads what several want at the same time once, and what it has never", async (test) => {
    const { cache, content } = makePlaces(test);
    content.delayed = true;
    const files = ["one", "two"].map((text) => ({
      name: text,
      digest: content.addBlob(text),
      isExecutable: false,
    }));
    const all = await Promise.all([1, 2, 3, 4].map(() => pinAll(cache, ...files)));
    assert.ok(all.every((pinned) => pinned.size === 2));
    await pinAll(cache, ...files);
    assert.equal(content.readsAsked.length, 2);
    assert.deepEqual(cache.operations, { insert: 2, touch: 8, remove: 0 });
  });

  it("gives up what was used longest ago, by count and by size", async (test) => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(50), { minLength: 1, maxLength: 6 }),
        fc.array(fc.nat(5), { maxLength: 15 }),
        fc.nat(4),
        fc.nat(100),
        async (sizes, order, maximumFileCount, maximumSizeBytes) => {
          const { cache, cachePath, content, folder } = makePlaces(test, {
            maximumFileCount,
            maximumSizeBytes,
          });
          const files = sizes.map((size, index) => ({
            name: "file",
            digest: content.addBlob(Buffer.alloc(size, index + 1)),
            isExecutable: false,
          }));
          // Empty ones are all the same.
          const numbers = files.map(({ digest }) =>
            files.findIndex((other) => other.digest.hash === digest.hash),
          );
          const uses = order.map((use) => numbers[use % files.length]!);
          for (const use of uses) {
            await cache.unpin(await pinAll(cache, files[use]!));
          }
          const kept = [...keptOf(sizes, uses, maximumFileCount, maximumSizeBytes)];
          const expected = kept.map((index) => cacheKey(files[index]!));
          assert.deepEqual(readdirSync(cachePath).toSorted(), expected.toSorted());
          assert.equal(cache.count, kept.length);
          const { insert, touch, remove } = cache.operations;
          assert.equal(insert + touch, uses.length);
          assert.equal(insert - remove, kept.length);
          assert.equal(
            cache.sizeBytes,
            kept.reduce((sum, index) => sum + sizes[index]!, 0),
          );
          rmSync(folder, { recursive: true });
        },
      ),
      { numRuns: 30, examples: [[[1, 2, 3], [0, 1, 0, 2], 2, 100]] },
    );
  });

  it("keeps what is pinned, though it is too much", async (test) => {
    const { cache, content } = makePlaces(test, { maximumFileCount: 1 });
    const file = (text: string) => ({ name: text, digest: content.addBlob(text), isExecutable: false });
    const [one, two, three] = [file("one"), file("two"), file("three")];
    const both = await pinAll(cache, one, two);
    const again = await pinAll(cache, one);
    assert.equal(cache.count, 2);
    await cache.unpin(both);
    assert.ok(cache.has(cacheKey(one)), "somebody else has pinned it");
    assert.equal(cache.count, 1);
    await cache.unpin(again);
    await cache.unpin(await pinAll(cache, three));
    assert.ok(!cache.has(cacheKey(one)));
  });

  it("leaves nothing of what cannot be had, and tries again", async (test) => {
    const { cache, cachePath, content } = makePlaces(test);
    content.delayed = true;
    const digest = content.addBlob("lost");
    const file = { name: "lost", digest, isExecutable: false };
    content.lose(digest);
    await assert.rejects(pinAll(cache, file), { name: "BlobError", code: Code.NOT_FOUND, digest });
    assert.deepEqual(readdirSync(cachePath), []);
    content.restore(digest);
    await pinAll(cache, file);
    assert.equal(cache.count, 1);
  });

  it("hashes what comes in parts", async (test) => {
    const { cache, cachePath, content } = makePlaces(test);
    content.pieceBytes = 3;
    const digest = content.addBlob("a long content");
    const right = { name: "right", digest, isExecutable: false };
    await pinAll(cache, right);
    assert.equal(readFileSync(join(cachePath, cacheKey(right)), "utf8"), "a long content");
    const wrong = { ...right, digest: { ...content.addBlob("a long content too"), sizeBytes: 14 } };
    const read = content.read.bind(content);
    content.read = (_digest, offset, count) => read(digest, offset, count);
    await assert.rejects(pinAll(cache, wrong), { code: Code.DATA_LOSS, message: /is corrupt/ });
    assert.deepEqual(readdirSync(cachePath), [cacheKey(right)]);
  });

  it("does not wait for a download that nobody wants any more", async (test) => {
    const { cache, content } = makePlaces(test);
    const asked = Promise.withResolvers<void>();
    content.read = () => {
      asked.resolve();
      return new Promise(() => {});
    };
    const stop = new AbortController();
    const file = { name: "file", digest: content.addBlob("never"), isExecutable: false };
    const pinning = cache.pin([file], new Map(), stop.signal);
    await asked.promise;
    stop.abort(new Error("cancelled"));
    await assert.rejects(pinning, /cancelled/);
  });

  it("says that its disk failed, and that another worker may do better", async (test) => {
    const { cache, cachePath, content } = makePlaces(test);
    rmSync(cachePath, { recursive: true });
    const file = { name: "file", digest: content.addBlob("content"), isExecutable: false };
    await assert.rejects(pinAll(cache, file), {
      code: Code.UNAVAILABLE,
      message: /cannot keep an input file in/,
    });
    mkdirSync(cachePath);
    await pinAll(cache, file);
  });

  it("must lie where links from it to the build directory can be made", async (test) => {
    const { cachePath, buildPath } = makePlaces(test);
    await checkLinkable(cachePath, buildPath);
    assert.deepEqual([readdirSync(cachePath), readdirSync(buildPath)], [[], []]);
    await assert.rejects(checkLinkable(cachePath, "/dev/shm"), {
      name: "ConfigurationError",
      message: /must be directories of one mounted file system/,
    });
    assert.deepEqual(readdirSync(cachePath), []);
  });
});
