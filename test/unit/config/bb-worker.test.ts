import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { bbWorkerSettings } from "../../../src/config/bb-worker/application.ts";
import type { VirtualBuildDirectorySettings } from "../../../src/config/bb-worker/build-directory.ts";
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
const native = (changes: JsonObject = {}, runnerChanges: JsonObject = {}) => ({
  native: {
    buildDirectoryPath: "build",
    cacheDirectoryPath: "/cache",
    maximumCacheFileCount: "10",
    maximumCacheSizeBytes: "1000",
    cacheReplacementPolicy: "LEAST_RECENTLY_USED",
    ...changes,
  },
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
    assert.deepEqual(configuration.blobCache, defaultLocalStore("/pool.blobs", 1000));
    const [directory] = configuration.buildDirectories as VirtualBuildDirectorySettings[];
    assert.equal(directory?.nfsVersion, "4.2");
    assert.equal(directory?.maximumExecutionTimeoutCompensation, 0);
    assert.equal(directory?.runners[0]?.maximumFilePoolSizeBytes, 0);
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

  it("does without a file pool, or takes a device, where the blob cache has a place of its own", () => {
    const local = {
      keyLocationMapInMemory: { entries: "7" },
      keyLocationMapMaximumGetAttempts: 8,
      keyLocationMapMaximumPutAttempts: "32",
      newBlocks: 1,
      blocksInMemory: { blockSizeBytes: "100000" },
    };
    const blobstore = {
      actionCache: grpc,
      contentAddressableStorage: { readCaching: { slow: grpc, fast: { local } } },
    };
    assert.equal(check({ blobstore, filePool: null }).filePool, undefined);
    assert.deepEqual(check({ blobstore, filePool: { blockDevice: { devicePath: "/dev/sda" } } }).filePool, {
      path: "/dev/sda",
      maximumSizeBytes: undefined,
    });
  });

  it("takes the NFS version out of the mount options", () => {
    const [directory] = check({
      buildDirectories: [
        buildDirectory({}, {}, { nfsv4: { linux: { mountOptions: ["vers=4.1", "nconnect=2"] } } }),
      ],
    }).buildDirectories as VirtualBuildDirectorySettings[];
    assert.equal(directory?.nfsVersion, "4.1");
    assert.deepEqual(directory?.mountOptions, ["nconnect=2"]);
  });

  it("tells the server's two lease times apart", () => {
    const leases = (times: JsonObject) => {
      const mount = { nfsv4: { ...nfsv4, ...times } };
      const [directory] = check({ buildDirectories: [buildDirectory({}, {}, mount)] })
        .buildDirectories as VirtualBuildDirectorySettings[];
      return [directory?.announcedLeaseSeconds, directory?.enforcedLeaseSeconds];
    };
    assert.deepEqual(leases({}), [60, 60]);
    assert.deepEqual(leases({ announcedLeaseTime: "30s" }), [30, 30]);
    assert.deepEqual(leases({ announcedLeaseTime: "30s", enforcedLeaseTime: "90.5s" }), [30, 90.5]);
    assert.throws(() => leases({ enforcedLeaseTime: "59s" }), /enforcedLeaseTime is shorter than announced/);
    assert.throws(() => leases({ announcedLeaseTime: "0s" }), /announcedLeaseTime is 0 s: give "1s" to/);
  });

  it("serves by NFSv4 what is to be served by FUSE, and says so", () => {
    const fuse = { directoryEntryValidity: "300s", allowOther: true, mountMethod: "DIRECT" };
    const { buildDirectories, doneOtherwise } = check({
      buildDirectories: [buildDirectory({}, {}, { fuse })],
    });
    assert.deepEqual(
      { ...check().buildDirectories[0], mountPath: "/build" },
      { ...buildDirectories[0], mountPath: "/build" },
    );
    const mount = "buildDirectories[0].virtual.mount.fuse";
    assert.deepEqual(
      doneOtherwise.map(({ field }) => field),
      [mount, `${mount}.directoryEntryValidity`, `${mount}.allowOther`, `${mount}.mountMethod`],
    );
  });

  it("needs neither file pool nor blob cache where no build directory is virtual", () => {
    const settings = check({ filePool: null, buildDirectories: [native()] });
    assert.equal(settings.filePool, undefined);
    assert.equal(settings.blobCache.blocks.kind, "memory");
    assert.deepEqual(settings.doneOtherwise, []);
    const [directory] = settings.buildDirectories;
    assert.deepEqual(
      { ...directory, runners: [] },
      {
        backend: "native",
        buildDirectoryPath: "build",
        cacheDirectoryPath: "/cache",
        maximumCacheFileCount: 10,
        maximumCacheSizeBytes: 1000,
        cacheReplacementPolicy: "leastRecentlyUsed",
        runners: [],
      },
    );
  });

  it("writes nothing to a file pool that nothing needs, and says so", () => {
    const settings = check({ buildDirectories: [native({}, { maximumFilePoolFileCount: "10" })] });
    assert.equal(settings.filePool, undefined);
    assert.equal(settings.blobCache.blocks.kind, "memory");
    assert.deepEqual(
      settings.doneOtherwise.map(({ field }) => field),
      ["filePool", "buildDirectories[0].runners[0].maximumFilePoolFileCount"],
    );
  });

  it("has both where one build directory is virtual and one is native", () => {
    const settings = check({ buildDirectories: [native(), buildDirectory()] });
    assert.equal(settings.filePool?.path, "/pool");
    assert.deepEqual(settings.blobCache, defaultLocalStore("/pool.blobs", 1000));
    assert.deepEqual(settings.doneOtherwise, []);
  });

  it("names everything that is wrong at once", () => {
    assert.throws(
      () =>
        check({
          scheduler: {},
          browserUrl: "browser",
          completedActionLoggers: [{ addInstanceNamePrefix: "a//b" }],
          buildDirectories: [
            buildDirectory({ caseInsensitive: true }, { concurrency: "0" }),
            { native: {}, runners: [] },
          ],
        }),
      (error) =>
        error instanceof ConfigurationError &&
        assert.deepEqual(
          error.problems.map((problem) => problem.split(" ", 1)[0]),
          [
            "buildDirectories[0].virtual.caseInsensitive",
            "scheduler.address",
            "browserUrl",
            "buildDirectories[0].runners[0].concurrency",
            "buildDirectories[1].native.buildDirectoryPath",
            "buildDirectories[1].native.cacheDirectoryPath",
            "buildDirectories[1].native.cacheReplacementPolicy",
            "buildDirectories[1].runners",
            "completedActionLoggers[0].client.address",
            "completedActionLoggers[0].addInstanceNamePrefix:",
          ],
        ) === undefined,
    );
  });

  it("accepts the configurations that are delivered", () => {
    const delivered = (name: string) => {
      const path = join(import.meta.dirname, "../../../configs", name);
      return bbWorkerSettings(loadConfiguration(path, ApplicationConfigurationSchema, { HOSTNAME: "host" }));
    };
    const [directory] = delivered("bb_worker.jsonnet").buildDirectories;
    assert.deepEqual(directory?.runners[0]?.workerId, { node: "host" });
    assert.equal(directory?.runners[0]?.inputRootCharacterDeviceNodes.length, 6);
    const native = delivered("bb_worker_native.jsonnet");
    assert.equal(native.buildDirectories[0]?.backend, "native");
    assert.deepEqual(native.doneOtherwise, []);
  });

  for (const [what, changes, message] of [
    ["no scheduler", { scheduler: {} }, /scheduler\.address is missing/],
    [
      "a logger of completed actions without an address",
      { completedActionLoggers: [{}] },
      /^completedActionLoggers\[0\]\.client\.address is missing/,
    ],
    ["prefetching without a cache", { prefetching: {} }, /^prefetching\.fileSystemAccessCache is missing/],
    ["no build directories", { buildDirectories: [] }, /^buildDirectories is empty/],
    ["no file pool", { filePool: {} }, /^filePool\.blockDevice is missing: give file/],
    [
      "a device as file pool, with no place for the blob cache",
      { filePool: { blockDevice: { devicePath: "/dev/sda" } } },
      /^filePool\.blockDevice has a devicePath, so that there is no file beside which/,
    ],
    [
      "a native build directory with a cache of negative size",
      { buildDirectories: [native({ maximumCacheSizeBytes: "-1" })] },
      /buildDirectories\[0\]\.native\.maximumCacheSizeBytes is -1: give 0 or more/,
    ],
    [
      "a native build directory that does not say what its cache gives up",
      { buildDirectories: [native({ cacheReplacementPolicy: "UNKNOWN" })] },
      /native\.cacheReplacementPolicy is missing: give "LEAST_RECENTLY_USED", /,
    ],
    [
      "neither a virtual nor a native build directory",
      { buildDirectories: [{ runners: [runner] }] },
      /virtual is missing/,
    ],
    [
      "WinFsp",
      { buildDirectories: [buildDirectory({}, {}, { winfsp: {} })] },
      /buildDirectories\[0\]\.virtual\.mount\.winfsp is not supported: the worker runs on Linux only; give nfsv4/,
    ],
    ["no mount backend", { buildDirectories: [buildDirectory({}, {}, {})] }, /mount\.nfsv4 is missing/],
    [
      "NFSv4.0, which has no sessions",
      { buildDirectories: [buildDirectory({}, {}, { nfsv4: { linux: { mountOptions: ["vers=4.0"] } } })] },
      /mountOptions vers=4\.0 is not supported: the gate .* give vers=4\.1/,
    ],
    [
      "a relative mount path",
      { buildDirectories: [buildDirectory({}, {}, { mountPath: "build", nfsv4 })] },
      /mountPath is "build": give an absolute path/,
    ],
    [
      "a pattern of Go's that is none of JavaScript's",
      { buildDirectories: [buildDirectory({ hiddenFilesPattern: "(?=a)" })] },
      /virtual\.hiddenFilesPattern is "\(\?=a\)": give a regular expression of RE2's/,
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
