import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { ActionSchema } from "../../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { makeDigest, SHA256 } from "../../../../src/reapi/digest.ts";
import {
  FileTree,
  InputAccess,
  MemoryFilePool,
  type TreeDirectory,
  toName,
} from "../../../../src/vfs/index.ts";
import {
  inputRootUsage,
  profileOf,
  reducedActionDigest,
} from "../../../../src/worker/prefetching/access-profile.ts";
import { FakeInputSource } from "../../vfs/fake-input-source.ts";

const vectors = JSON.parse(readFileSync(new URL("profiles.json", import.meta.url), "utf8"));

describe("the profile of what an action looks at", () => {
  it("is that of Buildbarn's monitor for the same paths, whatever is renamed meanwhile", async () => {
    const source = new FakeInputSource();
    const tree = new FileTree({ source, pool: new MemoryFilePool(1 << 20) });
    const build = tree.createBuildDirectory("b");
    const access = new InputAccess();
    const digest = source.addTree({
      usr: { bin: { cc: "cc", ld: "ld" }, [toName("Größe")]: "g", lib: { so: "so" } },
    });
    const root = await build.attachInputRoot(["root"], digest, access);
    const usr = (await root.lookup("usr")) as TreeDirectory;
    await usr.lookup(toName("Größe"));
    await root.rename("usr", root, "moved");
    const bin = (await usr.lookup("bin")) as TreeDirectory;
    await bin.lookup("cc");
    await bin.lookup("absent");
    await build.createFile(["root", "moved", "bin", "own"]);
    await bin.lookup("own");

    const size = { bitsPerPath: 14, maximumSizeBytes: 65536 };
    const expected = vectors.filters.find((filter: { files: string[] }) =>
      filter.files.includes("/usr/bin/cc"),
    );
    const { bloomFilter, bloomFilterHashFunctions } = profileOf(access, size);
    assert.equal(Buffer.from(bloomFilter).toString("hex"), expected.bloomFilter);
    assert.equal(bloomFilterHashFunctions, expected.hashFunctions);
    assert.deepEqual(inputRootUsage(access), { directoriesResolved: 4n, directoriesRead: 3n, filesRead: 2n });
    await build.remove();
  });
});

it("the digest of a reduced action is Buildbarn's", () => {
  const action = create(ActionSchema, {
    commandDigest: { hash: "c".repeat(64), sizeBytes: 123n },
    inputRootDigest: { hash: "d".repeat(64), sizeBytes: 5n },
    doNotCache: true,
    platform: {
      properties: [
        { name: "os", value: "linux" },
        { name: "arch", value: "x" },
      ],
    },
  });
  const context = makeDigest("main", SHA256, "d".repeat(64), 5);
  const text = (digest: typeof context) => `1-${digest.hash}-${digest.sizeBytes}-${digest.instanceName}`;
  assert.equal(text(reducedActionDigest(action, context)), vectors.reducedActionDigest);
  delete action.platform;
  assert.equal(text(reducedActionDigest(action, context)), vectors.reducedActionDigestWithoutPlatform);
});
