import assert from "node:assert/strict";
import { test } from "node:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { decodeDirectory } from "../../../src/cas/read/directory-decoder.ts";
import { DirectorySchema } from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";
import { digestOf } from "./fake-storage.ts";

type DirectoryInit = MessageInitShape<typeof DirectorySchema>;

const someDigest = { hash: "0123456789abcdef".repeat(4), sizeBytes: 5n };

function encode(directory: DirectoryInit): Uint8Array {
  return toBinary(DirectorySchema, create(DirectorySchema, directory));
}

function decode(message: Uint8Array) {
  return decodeDirectory(digestOf(message, "an/instance"), message);
}

const latin1 = (text: string) => Buffer.from(text, "utf8").toString("latin1");

const name = fc
  .string({ minLength: 1, maxLength: 40, unit: "grapheme" })
  .map((text) => text.replaceAll(/[/\0]/g, "_"))
  .filter((text) => text !== "." && text !== ".." && Buffer.byteLength(text) <= 255 && text.isWellFormed());
const digest = fc.record({
  hash: fc.string({ minLength: 64, maxLength: 64, unit: fc.constantFrom(..."0123456789abcdef") }),
  sizeBytes: fc.bigInt({ min: 0n, max: BigInt(Number.MAX_SAFE_INTEGER) }),
});
const nodeProperties = fc.option(
  fc.record({
    properties: fc.array(fc.record({ name: fc.string(), value: fc.string() })),
    mtime: fc.record({ seconds: fc.bigInt({ min: 0n, max: 2n ** 33n }), nanos: fc.nat(999_999_999) }),
    unixMode: fc.nat(0o7777),
  }),
  { nil: undefined },
);
const directory = fc.uniqueArray(name, { maxLength: 30 }).chain((names) =>
  fc
    .record({
      kinds: fc.array(fc.constantFrom("files", "directories", "symlinks"), {
        minLength: names.length,
        maxLength: names.length,
      }),
      digests: fc.array(digest, { minLength: names.length, maxLength: names.length }),
      executable: fc.array(fc.boolean(), { minLength: names.length, maxLength: names.length }),
      targets: fc.array(name, { minLength: names.length, maxLength: names.length }),
      properties: nodeProperties,
      sorted: fc.boolean(),
    })
    .map(({ kinds, digests, executable, targets, properties, sorted }) => {
      const all = (
        sorted ? names.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))) : names
      ).map((name, index) => ({
        name,
        kind: kinds[index],
        digest: digests[index]!,
        executable: executable[index]!,
        target: targets[index]!,
      }));
      const withProperties = properties && { nodeProperties: properties };
      return {
        files: all
          .filter(({ kind }) => kind === "files")
          .map(({ name, digest, executable }) => ({
            name,
            digest,
            isExecutable: executable,
            ...withProperties,
          })),
        directories: all
          .filter(({ kind }) => kind === "directories")
          .map(({ name, digest }) => ({ name, digest })),
        symlinks: all
          .filter(({ kind }) => kind === "symlinks")
          .map(({ name, target }) => ({ name, target, ...withProperties })),
        ...withProperties,
      };
    }),
);

test("any directory is decoded to what was encoded, names as bytes", () => {
  fc.assert(
    fc.property(directory, (directory) => {
      const message = encode(directory);
      const { instanceName, function: digestFunction } = digestOf("", "an/instance");
      const expected = (digest: { hash: string; sizeBytes: bigint }) => ({
        instanceName,
        function: digestFunction,
        hash: digest.hash,
        sizeBytes: Number(digest.sizeBytes),
      });
      assert.deepEqual(decode(message), {
        files: directory.files.map(({ name, digest, isExecutable }) => ({
          name: latin1(name),
          digest: expected(digest),
          isExecutable,
        })),
        directories: directory.directories.map(({ name, digest }) => ({
          name: latin1(name),
          digest: expected(digest),
        })),
        symlinks: directory.symlinks.map(({ name, target }) => ({
          name: latin1(name),
          target: latin1(target),
        })),
      });
    }),
  );
});

/** Decodes, or is refused as the interface says; anything else fails the test. */
function decodesOrIsRefused(message: Uint8Array): void {
  try {
    decode(message);
  } catch (error) {
    assert.ok(error instanceof BlobError, String(error));
    assert.equal(error.code, Code.INVALID_ARGUMENT);
  }
}

test("arbitrary bytes are refused or decoded, never worse", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), decodesOrIsRefused), { numRuns: 2000 });
});

test("damaged directories are refused or decoded, never worse", () => {
  const damage = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(directory, damage, fc.nat(), (directory, damage, cut) => {
      const message = encode(directory);
      for (const [at, byte] of damage) {
        if (message.length > 0) {
          message[at % message.length] = byte;
        }
      }
      decodesOrIsRefused(message);
      decodesOrIsRefused(message.subarray(0, cut % (message.length + 1)));
    }),
    { numRuns: 1000 },
  );
});

const file = (name: string) => ({ name, digest: someDigest });

for (const [what, directory, reason] of [
  ["an empty name", { files: [file("")] }, /not a name/],
  ["the name .", { directories: [file(".")] }, /not a name/],
  ["the name ..", { symlinks: [{ name: "..", target: "x" }] }, /not a name/],
  ["a slash", { files: [file("a/b")] }, /not a name/],
  ["a NUL", { files: [file("a\0b")] }, /not a name/],
  ["a name of 256 bytes", { files: [file("é".repeat(128))] }, /not a name/],
  ["a file without a digest", { files: [{ name: "a" }] }, /has no digest/],
  ["a short hash", { files: [{ name: "a", digest: { hash: "ab", sizeBytes: 1n } }] }, /hexadecimal/],
  [
    "an upper-case hash",
    { files: [{ name: "a", digest: { ...someDigest, hash: "A".repeat(64) } }] },
    /hexadecimal/,
  ],
  ["a negative size", { files: [{ name: "a", digest: { ...someDigest, sizeBytes: -1n } }] }, /not a size/],
  [
    "a size above 2^53",
    { files: [{ name: "a", digest: { ...someDigest, sizeBytes: 2n ** 53n } }] },
    /not a size/,
  ],
  ["a file twice", { files: [file("a"), file("a")] }, /"a" occurs twice/],
  ["a file twice, apart", { files: [file("a"), file("b"), file("a")] }, /"a" occurs twice/],
  ["a file and a directory", { files: [file("a"), file("b")], directories: [file("b")] }, /"b" occurs twice/],
  [
    "a directory and a symlink",
    { directories: [file("b")], symlinks: [{ name: "b", target: "x" }] },
    /"b" occurs twice/,
  ],
  ["a symlink to nothing", { symlinks: [{ name: "a", target: "" }] }, /target/],
  ["a symlink with a NUL", { symlinks: [{ name: "a", target: "b\0c" }] }, /target/],
] as const satisfies readonly (readonly [string, DirectoryInit, RegExp])[]) {
  test(`refused: ${what}`, () => {
    assert.throws(
      () => decode(encode(directory)),
      (error) =>
        error instanceof BlobError && error.code === Code.INVALID_ARGUMENT && reason.test(error.message),
    );
  });
}

test("names of 255 bytes and names that are not UTF-8 are names", () => {
  assert.equal(decode(encode({ files: [file("x".repeat(255))] })).files[0]!.name.length, 255);
  const message = Buffer.from(encode({ files: [file("xy")] }));
  message[message.indexOf("xy")] = 0xff;
  assert.equal(decode(message).files[0]!.name, "\u00ffy");
});
