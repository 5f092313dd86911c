import assert from "node:assert/strict";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { Code } from "../../../../src/proto/gen/google/rpc/code_pb.ts";
import { DirectoryCleaner } from "../../../../src/worker/native/directory-cleaner.ts";
import { makePlaces } from "./places.ts";

async function makeCleaner(test: TestContext) {
  const { buildPath: path } = makePlaces(test);
  const handle = await open(path);
  test.after(() => handle.close());
  return { path, cleaner: new DirectoryCleaner(path, handle) };
}

describe("cleaning between actions", () => {
  it("is done for the first that comes, and for nobody who comes meanwhile or while it runs", async (test) => {
    const { path, cleaner } = await makeCleaner(test);
    mkdirSync(join(path, "left"));
    const all = [1, 2, 3].map(async (number) => {
      await cleaner.acquire();
      mkdirSync(join(path, `${number}`));
    });
    await Promise.all(all);
    assert.deepEqual(readdirSync(path).toSorted(), ["1", "2", "3"]);
    writeFileSync(join(path, "beside"), "");
    await cleaner.release("1");
    await cleaner.release("2");
    assert.deepEqual(readdirSync(path).toSorted(), ["3", "beside"]);
    const last = cleaner.release("3");
    const next = cleaner.acquire().then(() => mkdirSync(join(path, "4")));
    await Promise.all([last, next]);
    assert.deepEqual(readdirSync(path).toSorted(), ["4", "beside"], "one was there all the time");
    await cleaner.release("4");
    assert.deepEqual(readdirSync(path), []);
  });

  it("that cannot be done keeps actions away until it can", async (test) => {
    const { path, cleaner } = await makeCleaner(test);
    const handle = await open("/proc/self");
    test.after(() => handle.close());
    const hopeless = new DirectoryCleaner("/proc/self/attr", handle);
    for (const _ of [1, 2]) {
      await assert.rejects(hopeless.acquire(), {
        code: Code.INTERNAL,
        message: /^cannot clean \/proc\/self\/attr: /,
      });
    }
    await cleaner.acquire();
    await cleaner.release(undefined);
    assert.deepEqual(readdirSync(path), []);
  });
});
