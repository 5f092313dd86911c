import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { localStoreSettings } from "../../../src/config/blobstore/local.ts";
import { ConfigurationError } from "../../../src/config/error.ts";
import { FieldPath } from "../../../src/config/field-path.ts";
import { LocalBlobAccessConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";

const source = { file: { path: "/cache/blobs", sizeBytes: "64000000000" } };
const validation = {
  cacheSize: "1000000",
  cacheDuration: "14400s",
  cacheReplacementPolicy: "LEAST_RECENTLY_USED",
};
/** As bb-storage's documentation recommends. */
const recommended = {
  keyLocationMapOnBlockDevice: { file: { path: "/cache/map", sizeBytes: "660000000" } },
  keyLocationMapMaximumGetAttempts: 16,
  keyLocationMapMaximumPutAttempts: "64",
  oldBlocks: 8,
  currentBlocks: 24,
  newBlocks: 3,
  blocksOnBlockDevice: { source, spareBlocks: 3, dataIntegrityValidationCache: validation },
  persistent: { stateDirectoryPath: "/cache/state", minimumEpochInterval: "300s" },
};

const check = (json: JsonObject) =>
  FieldPath.root("fast.local").settingsOf((path) =>
    localStoreSettings(fromJson(LocalBlobAccessConfigurationSchema, json), path),
  );

const { blocksOnBlockDevice: _, persistent: _persistent, ...withoutBlocks } = recommended;
const { keyLocationMapOnBlockDevice: _map, ...withoutMap } = recommended;

describe("localStoreSettings", () => {
  it("takes what Buildbarn recommends", () => {
    assert.deepEqual(check(recommended), {
      blocks: { kind: "file", path: "/cache/blobs", sizeBytes: 64_000_000_000 },
      oldBlocks: 8,
      currentBlocks: 24,
      newBlocks: 3,
      spareBlocks: 3,
      keyLocationMap: { maximumEntries: 10_000_000, maximumGetAttempts: 16, maximumPutAttempts: 64 },
      persistent: { stateDirectoryPath: "/cache/state", minimumEpochIntervalMilliseconds: 300_000 },
      trustMilliseconds: 14_400_000,
      hierarchicalInstanceNames: false,
    });
  });

  it("takes devices, and blocks in memory", () => {
    const devices = check({
      ...withoutMap,
      keyLocationMapOnBlockDevice: { devicePath: "/dev/sdb1" },
      blocksOnBlockDevice: { source: { devicePath: "/dev/sdb2" }, spareBlocks: 1 },
    });
    assert.deepEqual(devices.blocks, { kind: "device", path: "/dev/sdb2" });
    assert.equal(devices.trustMilliseconds, 0);
    const memory = check({ ...withoutBlocks, blocksInMemory: { blockSizeBytes: "1000000" } });
    assert.deepEqual(memory.blocks, { kind: "memory", blockBytes: 1_000_000 });
    assert.equal(memory.persistent, undefined);
  });

  for (const [what, json, message] of [
    ["no map", withoutMap, /^fast\.local\.keyLocationMapInMemory is missing/],
    ["no blocks", withoutBlocks, /^fast\.local\.blocksOnBlockDevice is missing/],
    ["no new blocks", { ...recommended, newBlocks: 0 }, /newBlocks is 0: give at least 1/],
    ["negative blocks", { ...recommended, oldBlocks: -1 }, /oldBlocks is -1/],
    ["too many blocks", { ...recommended, currentBlocks: 90 }, /are 104 together: give 2 to 100/],
    [
      "a single block",
      { ...recommended, oldBlocks: 0, currentBlocks: 0, newBlocks: 1, blocksOnBlockDevice: { source } },
      /are 1 together: give 2/,
    ],
    [
      "too small a file",
      { ...recommended, blocksOnBlockDevice: { source: { file: { path: "/f", sizeBytes: "1000000" } } } },
      /source\.file\.sizeBytes is 1000000, too little for 35 blocks: give at least 2359296/,
    ],
    [
      "no path",
      { ...recommended, blocksOnBlockDevice: { source: { file: { sizeBytes: "1000000" } } } },
      /source\.file\.path is "": give a path/,
    ],
    [
      "no source",
      { ...recommended, blocksOnBlockDevice: {} },
      /blocksOnBlockDevice\.source is missing: give file/,
    ],
    ["no attempts", { ...recommended, keyLocationMapMaximumGetAttempts: 0 }, /MaximumGetAttempts is 0: give/],
    [
      "no epoch interval",
      { ...recommended, persistent: { stateDirectoryPath: "/state" } },
      /minimumEpochInterval is missing/,
    ],
    [
      "memory that is to persist",
      { ...withoutBlocks, blocksInMemory: { blockSizeBytes: "1000000" }, persistent: recommended.persistent },
      /persistent is not supported: blocksInMemory survive nothing/,
    ],
    [
      "small blocks in memory",
      { ...withoutBlocks, blocksInMemory: { blockSizeBytes: "1000" } },
      /blockSizeBytes is 1000: give at least 65536/,
    ],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.throws(
        () => check(json),
        (error) => {
          assert.ok(error instanceof ConfigurationError);
          assert.match(error.message, message);
          return true;
        },
      );
    });
  }
});
