import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import fc from "fast-check";
import { toName } from "../../../../src/vfs/index.ts";
import { BloomFilter, encodeBloomFilter } from "../../../../src/worker/prefetching/bloom-filter.ts";
import { PathHash } from "../../../../src/worker/prefetching/path-hash.ts";

/** What bb-remote-execution's BloomFilterComputingUnreadDirectoryMonitor (13313e6) makes of these paths. */
const { filters } = JSON.parse(readFileSync(new URL("profiles.json", import.meta.url), "utf8")) as {
  readonly filters: readonly {
    readonly directories: readonly string[];
    readonly files: readonly string[];
    readonly bitsPerPath: number;
    readonly maximumSizeBytes: number;
    readonly bloomFilter: string;
    readonly hashFunctions: number;
  }[];
};

function hashOf(path: string): PathHash {
  let hash = PathHash.ROOT;
  for (const component of path.split("/").slice(1)) {
    hash = hash.append(toName(component));
  }
  return hash;
}

describe("a Bloom filter of paths", () => {
  it("is Buildbarn's, bit for bit", () => {
    assert.ok(filters.length > 8);
    for (const { directories, files, bloomFilter, hashFunctions, ...size } of filters) {
      const made = encodeBloomFilter([...directories, ...files].map(hashOf), size);
      assert.equal(Buffer.from(made.bloomFilter).toString("hex"), bloomFilter, JSON.stringify(size));
      assert.equal(made.bloomFilterHashFunctions, hashFunctions);
    }
  });

  it("that Buildbarn made contains its paths, and hardly another", () => {
    for (const { directories, files, bloomFilter, hashFunctions, bitsPerPath, maximumSizeBytes } of filters) {
      if (directories.length === 0) {
        continue;
      }
      const filter = new BloomFilter({
        bloomFilter: Buffer.from(bloomFilter, "hex"),
        bloomFilterHashFunctions: hashFunctions,
      });
      for (const path of [...directories, ...files]) {
        assert.ok(filter.contains(hashOf(path)), path);
      }
      if (bitsPerPath === 14 && maximumSizeBytes === 65536) {
        const others = Array.from({ length: 1000 }, (_, index) => hashOf(`/other/${index}`));
        assert.ok(others.filter((path) => filter.contains(path)).length < 30);
      }
    }
  });

  it("does not lose a path, whatever its size", () => {
    const paths = fc.uniqueArray(fc.stringMatching(/^(\/[a-z.]{1,8}){1,4}$/), { maxLength: 50 });
    fc.assert(
      fc.property(paths, fc.integer({ min: 1, max: 30 }), fc.nat(200), (paths, bitsPerPath, maximum) => {
        const encoded = encodeBloomFilter(paths.map(hashOf), { bitsPerPath, maximumSizeBytes: maximum });
        assert.ok(encoded.bloomFilter.length <= Math.max(1, maximum));
        if (paths.length > 0) {
          const filter = new BloomFilter(encoded);
          assert.ok(paths.every((path) => filter.contains(hashOf(path))));
        }
      }),
    );
  });

  it("from the wire may be anything", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), fc.nat(), (bloomFilter, bloomFilterHashFunctions) => {
        try {
          new BloomFilter({ bloomFilter, bloomFilterHashFunctions }).contains(hashOf("/a/b"));
        } catch (error) {
          assert.ok(error instanceof RangeError);
          assert.ok((bloomFilter.at(-1) ?? 0) <= 1);
        }
      }),
    );
  });
});

it("hashes paths by FNV-1a, also where the remainder needs more than a double", () => {
  fc.assert(
    fc.property(
      fc.string({ unit: "binary-ascii" }),
      fc.integer({ min: 1, max: 2 ** 40 }),
      (text, divisor) => {
        let expected = 0xcbf29ce484222325n;
        for (const byte of `/${text}`) {
          expected = BigInt.asUintN(64, (expected ^ BigInt(byte.charCodeAt(0))) * 0x100000001b3n);
        }
        assert.equal(PathHash.ROOT.append(text).modulo(divisor), Number(expected % BigInt(divisor)));
      },
    ),
  );
});
