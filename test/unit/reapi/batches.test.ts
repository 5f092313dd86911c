import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { batchesOf } from "../../../src/reapi/batches.ts";
import { digestFunctionNamed, makeDigest } from "../../../src/reapi/digest.ts";

const digestOf = (sizeBytes: number) =>
  makeDigest("", digestFunctionNamed("sha256")!, "0".repeat(64), sizeBytes);

const MAXIMUM_BYTES = 4 * 1024 * 1024;

describe("batches", () => {
  it("have everything in its order, and no more than a message may have", () => {
    const size = fc.oneof(
      fc.nat(10),
      fc.nat(MAXIMUM_BYTES),
      fc.constant(MAXIMUM_BYTES),
      fc.nat(2 * MAXIMUM_BYTES),
    );
    fc.assert(
      fc.property(fc.array(size, { maxLength: 50 }), (sizes) => {
        const items = sizes.map((sizeBytes) => ({ digest: digestOf(sizeBytes) }));
        const batches = batchesOf(items);
        assert.deepEqual(batches.flat(), items);
        for (const [index, batch] of batches.entries()) {
          const bytes = batch.reduce((sum, { digest }) => sum + digest.sizeBytes, 0);
          assert.ok(batch.length > 0 && (bytes <= MAXIMUM_BYTES || batch.length === 1));
          const following = batches[index + 1]?.[0];
          assert.ok(following === undefined || bytes + following.digest.sizeBytes > MAXIMUM_BYTES);
        }
      }),
    );
  });

  it("of small blobs have 1000", () => {
    const lengths = batchesOf(Array.from({ length: 2001 }, () => ({ digest: digestOf(1) }))).map(
      ({ length }) => length,
    );
    assert.deepEqual(lengths, [1000, 1000, 1]);
  });
});
