import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InvalidDigestError, SHA256 } from "../../../src/reapi/digest.ts";
import {
  checkInstanceName,
  missingBlobSubject,
  parseReadResourceName,
  parseWriteResourceName,
  readResourceName,
  writeResourceName,
} from "../../../src/reapi/resource-name.ts";

const instanceName = fc
  .array(fc.stringMatching(/^[^/]+$/), { maxLength: 3 })
  .map((segments) => segments.join("/"))
  .filter(isInstanceName);
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

test("a name that was formatted is parsed as it was meant", () => {
  fc.assert(
    fc.property(digest, compressor, fc.uuid(), (digest, compressor, uuid) => {
      assert.deepEqual(parseReadResourceName(readResourceName(digest, compressor)), { digest, compressor });
      const upload = writeResourceName(digest, compressor, uuid);
      assert.deepEqual(parseWriteResourceName(upload), { digest, compressor });
      assert.deepEqual(parseWriteResourceName(`${upload}/some/file.txt`), { digest, compressor });
    }),
  );
});

test("a name that was parsed is formatted as it was, but for a digest function that need not be named", () => {
  const path = fc.tuple(instanceName, fc.constantFrom("", "sha256/"), digest);
  fc.assert(
    fc.property(path, ([instance, named, { hash, sizeBytes }]) => {
      const prefix = instance === "" ? "" : `${instance}/`;
      const parsed = parseReadResourceName(`${prefix}blobs/${named}${hash}/${sizeBytes}`);
      assert.equal(readResourceName(parsed.digest, "identity"), `${prefix}blobs/${hash}/${sizeBytes}`);
      assert.equal(missingBlobSubject(parsed.digest), `blobs/${hash}/${sizeBytes}`);
    }),
  );
});

test("an instance name that cannot be one is refused", () => {
  const blob = `blobs/${"a".repeat(64)}/3`;
  for (const instance of ["a/", "/a", "a//b", "actions", "a/operations/b", "uploads/a"]) {
    assert.throws(() => parseReadResourceName(`${instance}/${blob}`), InvalidDigestError, instance);
  }
  assert.throws(() => parseWriteResourceName(`capabilities/uploads/u/${blob}`), InvalidDigestError);
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

function isInstanceName(name: string): boolean {
  try {
    checkInstanceName(name);
    return true;
  } catch {
    return false;
  }
}
