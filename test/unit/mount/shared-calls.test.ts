import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { SharedCalls } from "../../../src/mount/shared-calls.ts";

describe("shared calls", () => {
  it("are one for all who come while another is under way, and begin after it", async () => {
    const begun: PromiseWithResolvers<void>[] = [];
    const calls = new SharedCalls(() => {
      const call = Promise.withResolvers<void>();
      begun.push(call);
      return call.promise;
    });
    const first = calls.call();
    const later = [calls.call(), calls.call(), calls.call()];
    assert.equal(begun.length, 1);
    begun[0]!.reject(new Error("failed"));
    await assert.rejects(first, /failed/);
    while (begun.length < 2) {
      await Promise.resolve();
    }
    begun[1]!.resolve();
    await Promise.all(later);
    assert.equal(begun.length, 2);
    const last = calls.call();
    assert.equal(begun.length, 3);
    begun[2]!.resolve();
    await last;
  });
});
