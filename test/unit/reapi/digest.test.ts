import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import fc from "fast-check";
import {
  computeDigest,
  DIGEST_FUNCTIONS,
  DIGEST_FUNCTIONS_READY,
  digestFunctionFor,
  InvalidDigestError,
} from "../../../src/reapi/digest.ts";

/**
 * By digest function, and by size: what bb-storage's digest.Generator (bdd785e) makes of a content whose byte i is
 * i % 251.
 */
const VECTORS: Record<string, Record<string, string>> = JSON.parse(
  readFileSync(new URL("digests.json", import.meta.url), "utf8"),
);

const CONTENT = Buffer.alloc(5_000_000);
for (let index = 0; index < CONTENT.length; index++) {
  CONTENT[index] = index % 251;
}

before(() => DIGEST_FUNCTIONS_READY);

describe("digest functions hash as Buildbarn's", () => {
  for (const digestFunction of DIGEST_FUNCTIONS) {
    test(digestFunction.name, () => {
      const vectors = Object.entries(VECTORS[digestFunction.name]!);
      assert.ok(vectors.length > 10);
      for (const [size, hash] of vectors) {
        assert.equal(computeDigest("", digestFunction, CONTENT.subarray(0, Number(size))).hash, hash, size);
        assert.equal(hash.length, 2 * digestFunction.hashBytes);
      }
    });
  }
});

test("a content in pieces, beside other hashes at the same time, has the hash of the whole", () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 6 });
  const functions = fc.array(fc.constantFrom(...DIGEST_FUNCTIONS), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(pieces, functions, (pieces, functions) => {
      const whole = Buffer.concat(pieces);
      const hashes = functions.map((each) => each.createHash(whole.length));
      for (const piece of pieces) {
        for (const hash of hashes) {
          hash.update(piece);
        }
      }
      assert.deepEqual(
        hashes.map((hash) => hash.digest("hex")),
        functions.map((each) => computeDigest("", each, whole).hash),
      );
    }),
  );
});

test("without a function, the length of the hash tells", () => {
  const inferred = Object.fromEntries(
    [32, 40, 64, 96, 128].map((length) => [length, digestFunctionFor(0, "0".repeat(length)).name]),
  );
  assert.deepEqual(inferred, { 32: "md5", 40: "sha1", 64: "sha256", 96: "sha384", 128: "sha512" });
  assert.throws(() => digestFunctionFor(0, "0".repeat(63)), InvalidDigestError);
  // VSO and MURMUR3, which Buildbarn does not have either.
  assert.throws(() => digestFunctionFor(4, "0".repeat(66)), InvalidDigestError);
  assert.throws(() => digestFunctionFor(7, "0".repeat(32)), InvalidDigestError);
});
