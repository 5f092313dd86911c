import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { parseReadResourceName, parseWriteResourceName } from "../../../src/cluster/storage/resource-name.ts";
import { InvalidDigestError, SHA256 } from "../../../src/reapi/digest.ts";
import { readResourceName, writeResourceName } from "../../../src/reapi/resource-name.ts";

const reserved = new Set([
  "blobs",
  "uploads",
  "actions",
  "actionResults",
  "operations",
  "capabilities",
  "compressed-blobs",
]);
const segment = fc.stringMatching(/^[^/]+$/).filter((text) => !reserved.has(text));
const instanceName = fc.array(segment, { maxLength: 3 }).map((segments) => segments.join("/"));
const digest = fc.record(
  {
    instanceName,
    function: fc.constant(SHA256),
    hash: fc.stringMatching(/^[0-9a-f]{64}$/),
    sizeBytes: fc.maxSafeNat(),
  },
  { noNullPrototype: true },
);
const compressor = fc.constantFrom("identity" as const, "zstd" as const);

test("what the worker's CAS client writes is read as it was meant", () => {
  fc.assert(
    fc.property(digest, compressor, fc.uuid(), (digest, compressor, uuid) => {
      assert.deepEqual(parseReadResourceName(readResourceName(digest, compressor)), { digest, compressor });
      const upload = writeResourceName(digest, compressor, uuid);
      assert.deepEqual(parseWriteResourceName(upload), { digest, compressor });
      assert.deepEqual(parseWriteResourceName(`${upload}/some/file.txt`), { digest, compressor });
    }),
  );
});

test("the digest function may be named", () => {
  const hash = "a".repeat(64);
  assert.equal(parseReadResourceName(`x/blobs/sha256/${hash}/3`).digest.hash, hash);
});

test("anything else is an InvalidDigestError", () => {
  const piece = fc.oneof(
    fc.constantFrom("blobs", "uploads", "compressed-blobs", "zstd", "sha256", "", "..", "a".repeat(64), "12"),
    fc.string(),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      for (const parse of [parseReadResourceName, parseWriteResourceName]) {
        try {
          const { digest } = parse(pieces.join("/"));
          assert.match(digest.hash, /^[0-9a-f]{64}$/);
          assert.ok(Number.isSafeInteger(digest.sizeBytes));
        } catch (error) {
          assert.ok(error instanceof InvalidDigestError, String(error));
        }
      }
    }),
    { numRuns: 1000 },
  );
});
