import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { bbWorkerSettings } from "../../../src/config/bb-worker/application.ts";
import { defaultLocalStore } from "../../../src/config/blobstore/local.ts";
import { ConfigurationError } from "../../../src/config/error.ts";
import { loadConfiguration } from "../../../src/config/load-configuration.ts";
import { ApplicationConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";

const grpc = { grpc: { client: { address: "storage:8981" } } };
const runner = { endpoint: { address: "unix:///runner" }, concurrency: "2" };
const nfsv4 = { linux: { mountOptions: [] as string[] } };
const buildDirectory = (
  changes: JsonObject = {},
  runnerChanges: JsonObject = {},
  mount: JsonObject = { nfsv4 },
) => ({
  virtual: { mount: { mountPath: "/build", ...mount }, ...changes },
  runners: [{ ...runner, ...runnerChanges }],
});
const check = (changes: JsonObject = {}) =>
  bbWorkerSettings(
    fromJson(ApplicationConfigurationSchema, {
      scheduler: { address: "scheduler:8983" },
      blobstore: { contentAddressableStorage: grpc, actionCache: grpc },
      filePool: { blockDevice: { file: { path: "/pool", sizeBytes: "1000" } } },
      buildDirectories: [buildDirectory()],
      ...changes,
    }),
  );

describe("bbWorkerSettings", () => {
  it("fills in what is left to it", () => {
    const configuration = check();
    assert.deepEqual(configuration.blobCache, defaultLocalStore("/pool", 1000));
    const [directory] = configuration.buildDirectories;
    assert.equal(directory?.nfsVersion, "4.2");
    assert.equal(directory?.maximumExecutionTimeoutCompensation, 0);
    assert.equal(directory?.runners[0]?.maximumFilePoolSizeBytes, undefined);
  });

  it("takes a local fast backend as the blob cache", () => {
    const { contentAddressableStorage, blobCache } = check({
      blobstore: {
        actionCache: grpc,
        contentAddressableStorage: {
          readCaching: {
            slow: grpc,
            fast: {
              local: {
                keyLocationMapInMemory: { entries: "7" },
                keyLocationMapMaximumGetAttempts: 8,
                keyLocationMapMaximumPutAttempts: "32",
                newBlocks: 3,
                blocksInMemory: { blockSizeBytes: "100000" },
              },
            },
          },
        },
      },
    });
    assert.deepEqual(blobCache.blocks, { kind: "memory", blockBytes: 100_000 });
    assert.equal(blobCache.keyLocationMap.maximumEntries, 7);
    assert.equal(contentAddressableStorage.servers[0]?.endpoint.address, "storage:8981");
  });

  it("takes the NFS version out of the mount options", () => {
    const [directory] = check({
      buildDirectories: [
        buildDirectory({}, {}, { nfsv4: { linux: { mountOptions: ["vers=4.1", "nconnect=2"] } } }),
      ],
    }).buildDirectories;
    assert.equal(directory?.nfsVersion, "4.1");
    assert.deepEqual(directory?.mountOptions, ["nconnect=2"]);
  });

  it("tells the server's two lease times apart", () => {
    const leases = (times: JsonObject) => {
      const mount = { nfsv4: { ...nfsv4, ...times } };
      const [directory] = check({ buildDirectories: [buildDirectory({}, {}, mount)] }).buildDirectories;
      return [directory?.announcedLeaseSeconds, directory?.enforcedLeaseSeconds];
    };
    assert.deepEqual(leases({}), [60, 60]);
    assert.deepEqual(leases({ announcedLeaseTime: "30s" }), [30, 30]);
    assert.deepEqual(leases({ announcedLeaseTime: "30s", enforcedLeaseTime: "90.5s" }), [30, 90.5]);
    assert.throws(() => leases({ enforcedLeaseTime: "59s" }), /enforcedLeaseTime is shorter than announced/);
    assert.throws(() => leases({ announcedLeaseTime: "0s" }), /announcedLeaseTime is 0 s: give "1s" to/);
  });

  it("accepts the configuration that is delivered", () => {
    const path = join(import.meta.dirname, "../../../configs/bb_worker.jsonnet");
    const configuration = bbWorkerSettings(
      loadConfiguration(path, ApplicationConfigurationSchema, { HOSTNAME: "host" }),
    );
    assert.deepEqual(configuration.buildDirectories[0]?.runners[0]?.workerId, { node: "host" });
    assert.equal(configuration.buildDirectories[0]?.runners[0]?.inputRootCharacterDeviceNodes.length, 6);
  });

  for (const [what, changes, message] of [
    ["no scheduler", { scheduler: {} }, /scheduler\.address is missing/],
    ["prefetching", { prefetching: {} }, /^prefetching is not supported/],
    ["no build directories", { buildDirectories: [] }, /^buildDirectories is empty/],
    ["no file pool", { filePool: {} }, /^filePool\.blockDevice is missing: give file/],
    [
      "a device as file pool",
      { filePool: { blockDevice: { devicePath: "/dev/sda" } } },
      /^filePool\.blockDevice\.devicePath is not supported: give file/,
    ],
    [
      "a native build directory",
      { buildDirectories: [{ native: {}, runners: [runner] }] },
      /buildDirectories\[0\]\.native is not supported: /,
    ],
    [
      "FUSE",
      { buildDirectories: [buildDirectory({}, {}, { fuse: {} })] },
      /buildDirectories\[0\]\.virtual\.mount\.fuse is not supported: give nfsv4/,
    ],
    ["no mount backend", { buildDirectories: [buildDirectory({}, {}, {})] }, /mount\.nfsv4 is missing/],
    [
      "NFSv4.0, which has no sessions",
      { buildDirectories: [buildDirectory({}, {}, { nfsv4: { linux: { mountOptions: ["vers=4.0"] } } })] },
      /mountOptions vers=4\.0 is not supported: give vers=4\.1/,
    ],
    [
      "a relative mount path",
      { buildDirectories: [buildDirectory({}, {}, { mountPath: "build", nfsv4 })] },
      /mountPath is "build": give an absolute path/,
    ],
    [
      "hidden files",
      { buildDirectories: [buildDirectory({ hiddenFilesPattern: "x" })] },
      /virtual\.hiddenFilesPattern is not supported/,
    ],
    [
      "a device that there is not",
      { buildDirectories: [buildDirectory({}, { inputRootCharacterDeviceNodes: ["nosuch"] })] },
      /runners\[0\]\.inputRootCharacterDeviceNodes\[0\]: \/dev\/nosuch is not a character device/,
    ],
    [
      "a device outside /dev",
      { buildDirectories: [buildDirectory({}, { inputRootCharacterDeviceNodes: ["../dev/null"] })] },
      /is not a character device/,
    ],
    [
      "no concurrency",
      { buildDirectories: [buildDirectory({}, { concurrency: "0" })] },
      /runners\[0\]\.concurrency is 0: give a number above 0/,
    ],
    ["a browser that is no URL", { browserUrl: "browser" }, /^browserUrl is "browser": give a URL/],
  ] as [string, JsonObject, RegExp][]) {
    it(`refuses ${what}, by name`, () => {
      assert.throws(
        () => check(changes),
        (error: unknown) => error instanceof ConfigurationError && message.test(error.message),
      );
    });
  }
});
