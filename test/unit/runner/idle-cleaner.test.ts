import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IdleCleaner } from "../../../src/runner/idle-cleaner.ts";

describe("cleaning when idle", () => {
  it("happens before the first and after the last of simultaneous uses, never during one", async () => {
    const events: string[] = [];
    const cleaner = new IdleCleaner(async () => void events.push("clean"));
    const releases = new Map<string, () => void>();
    const use = (name: string) =>
      cleaner.use(() => {
        events.push(`+${name}`);
        return new Promise<void>((resolve) => releases.set(name, resolve)).then(
          () => void events.push(`-${name}`),
        );
      });
    const uses = [use("a"), use("b")];
    await new Promise(setImmediate);
    releases.get("a")?.();
    await uses[0];
    uses.push(use("c"));
    await new Promise(setImmediate);
    releases.get("b")?.();
    releases.get("c")?.();
    await Promise.all(uses);
    assert.deepEqual(events, ["clean", "+a", "+b", "-a", "+c", "-b", "-c", "clean"]);
  });

  it("that fails keeps the work from beginning, but not the next", async () => {
    const outcomes = [new Error("dirty"), undefined, undefined, undefined];
    const cleaner = new IdleCleaner(async () => {
      const error = outcomes.shift();
      if (error) {
        throw error;
      }
    });
    await assert.rejects(
      cleaner.use(() => assert.fail("worked on a dirty machine")),
      /dirty/,
    );
    assert.equal(await cleaner.use(async () => "clean"), "clean");
  });

  it("that fails afterwards is tried again before the next work, and is no fault of the last", async () => {
    const outcomes = [undefined, new Error("dirty"), new Error("still dirty")];
    const cleaner = new IdleCleaner(async () => {
      const error = outcomes.shift();
      if (error) {
        throw error;
      }
    });
    assert.equal(await cleaner.use(async () => "done"), "done");
    await assert.rejects(
      cleaner.use(() => assert.fail("worked on a dirty machine")),
      /still dirty/,
    );
    assert.equal(await cleaner.use(async () => "clean"), "clean");
  });

  it("is repeated where work comes while it runs at the end", async () => {
    let cleanings = 0;
    let release = () => {};
    const cleaner = new IdleCleaner(async () => {
      if (++cleanings === 2) {
        await new Promise<void>((resolve) => (release = resolve));
      }
    });
    const first = cleaner.use(async () => {});
    while (cleanings < 2) {
      await new Promise(setImmediate);
    }
    const second = cleaner.use(async () => assert.equal(cleanings, 3));
    release();
    await Promise.all([first, second]);
    assert.equal(cleanings, 4);
  });
});
