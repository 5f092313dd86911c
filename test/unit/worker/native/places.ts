import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { Semaphore } from "../../../../src/async/semaphore.ts";
import { readAll, sizedSource, type UploadSource } from "../../../../src/cas/transfer/upload-source.ts";
import { computeDigest, type DigestFunction } from "../../../../src/reapi/digest.ts";
import { FileCache, type FileCacheOptions } from "../../../../src/worker/native/file-cache.ts";
import { FakeInputSource } from "../../vfs/fake-input-source.ts";

/** Blobs in memory, which are hashed in this thread. */
export class FakeContent extends FakeInputSource {
  async hash(instanceName: string, digestFunction: DigestFunction, source: UploadSource) {
    return computeDigest(instanceName, digestFunction, await readAll(sizedSource(source)));
  }
}

/** A build directory, a cache beside it, and what it is filled from; removed after the test. */
export function makePlaces(test: Pick<TestContext, "after">, options: Partial<FileCacheOptions> = {}) {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "native-")));
  test.after(() => rmSync(folder, { recursive: true, force: true }));
  const buildPath = join(folder, "build");
  const cachePath = join(folder, "cache");
  mkdirSync(buildPath);
  mkdirSync(cachePath);
  const content = new FakeContent();
  const cache = new FileCache({
    path: cachePath,
    maximumFileCount: 100,
    maximumSizeBytes: 1e9,
    policy: "leastRecentlyUsed",
    content,
    downloads: new Semaphore(2),
    ...options,
  });
  return { folder, buildPath, cachePath, content, cache };
}
