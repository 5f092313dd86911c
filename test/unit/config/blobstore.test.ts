import assert from "node:assert/strict";
import { test } from "node:test";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { status as Status } from "@grpc/grpc-js";
import type { LocalStoreOptions } from "../../../src/cas/local/options.ts";
import { blobBackend } from "../../../src/config/blobstore/backend.ts";
import type { Store } from "../../../src/config/blobstore/place.ts";
import { ConfigurationError } from "../../../src/config/error.ts";
import { FieldPath } from "../../../src/config/field-path.ts";
import { BlobAccessConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import { digestOf } from "../cas/fake-storage.ts";
import { blobError } from "../cas/fixture.ts";

function backend(configuration: JsonValue, store: Store = "contentAddressableStorage") {
  return FieldPath.root("blobs").settingsOf(
    (path) => blobBackend(fromJson(BlobAccessConfigurationSchema, configuration), path, store).backend,
  );
}

const grpc = (address: string) => ({ grpc: { client: { address } } });

/** "ADDRESS INSTANCE" of a digest. */
function route(configuration: JsonValue, instanceName = "", content = "x"): string {
  const { servers, route } = backend(configuration);
  const found = route(digestOf(content, instanceName));
  return `${servers[found.server]!.endpoint.address} ${found.instanceName}`;
}

test("grpc: one server, instance names as they are", () => {
  assert.equal(route(grpc("a:1"), "main"), "a:1 main");
  assert.equal(
    backend({ grpc: { client: { address: "a:1" }, enableCompression: true } }).servers[0]!.compression,
    true,
  );
});

test("error: what is configured", () => {
  const { servers, route } = backend({ error: { code: 14, message: "down for today" } });
  assert.equal(servers.length, 0);
  assert.throws(() => route(digestOf("x")), blobError(Status.UNAVAILABLE, /down for today/));
});

test("demultiplexing: the longest prefix wins and is replaced", () => {
  const configuration = {
    demultiplexing: {
      instanceNamePrefixes: {
        "": { backend: grpc("default:1") },
        a: { backend: grpc("a:1"), addInstanceNamePrefix: "x/y" },
        "a/b": { backend: grpc("ab:1") },
      },
    },
  };
  assert.equal(route(configuration, ""), "default:1 ");
  assert.equal(route(configuration, "ab"), "default:1 ab");
  assert.equal(route(configuration, "a"), "a:1 x/y");
  assert.equal(route(configuration, "a/c/d"), "a:1 x/y/c/d");
  assert.equal(route(configuration, "a/b"), "ab:1 ");
  assert.equal(route(configuration, "a/b/c"), "ab:1 c");
  const { route: strict } = backend({
    demultiplexing: { instanceNamePrefixes: { a: { backend: grpc("a:1") } } },
  });
  assert.throws(() => strict(digestOf("x", "b")), blobError(Status.INVALID_ARGUMENT, /"b"/));
});

test("sharding: both shards are used, a blob always the same one", () => {
  const configuration = {
    sharding: {
      shards: { "0": { backend: grpc("zero:1"), weight: 1 }, "1": { backend: grpc("one:1"), weight: 1 } },
    },
  };
  const used = new Set(Array.from({ length: 50 }, (_, index) => route(configuration, "", `${index}`)));
  assert.deepEqual([...used].sort(), ["one:1 ", "zero:1 "]);
  assert.equal(route(configuration, "", "7"), route(configuration, "", "7"));
});

test("decorations reach the servers within them", () => {
  const { servers, combinations, route } = backend({
    existenceCaching: {
      existenceCache: {
        cacheSize: "10",
        cacheDuration: "60s",
        cacheReplacementPolicy: "LEAST_RECENTLY_USED",
      },
      backend: {
        deadlineEnforcing: { timeout: "2.5s", backend: grpc("a:1") },
      },
    },
  });
  assert.deepEqual(route(digestOf("x", "main")), { server: -1, instanceName: "main" });
  const [caching] = combinations;
  assert.ok(caching?.kind === "existenceCaching");
  assert.deepEqual(caching.cache, { maximumCount: 10, durationMilliseconds: 60_000 });
  assert.deepEqual(caching.base("main", "0"), { server: 0, instanceName: "main" });
  assert.deepEqual(servers, [
    {
      endpoint: { address: "a:1" },
      compression: false,
      timeoutMilliseconds: 2500,
    },
  ]);
});

test("completenessChecking: results, which are only written, go to its backend", () => {
  const checked = { completenessChecking: { maximumTotalTreeSizeBytes: "7", backend: grpc("a:1") } };
  const { servers } = backend(checked, "actionCache");
  assert.deepEqual(servers, [{ endpoint: { address: "a:1" }, compression: false }]);
  assert.throws(
    () => backend({ completenessChecking: { backend: grpc("a:1") } }, "actionCache"),
    /^ConfigurationError: blobs\.completenessChecking\.maximumTotalTreeSizeBytes is 0: /,
  );
});

test("combinations: nested, each within what it is combined of", () => {
  const { servers, combinations } = backend({
    readFallback: {
      primary: {
        mirrored: {
          backendA: grpc("a:1"),
          backendB: grpc("b:1"),
          replicatorAToB: { local: {} },
          replicatorBToA: { concurrencyLimiting: { base: { noop: {} }, maximumConcurrency: "3" } },
        },
      },
      secondary: grpc("c:1"),
      replicator: { deduplicating: { remote: { address: "r:1" } } },
    },
  });
  assert.deepEqual(
    servers.map(({ endpoint }) => endpoint.address),
    ["a:1", "b:1", "c:1"],
  );
  const [mirrored, fallback] = combinations;
  assert.ok(mirrored?.kind === "mirrored" && fallback?.kind === "readFallback");
  assert.deepEqual(mirrored.bToA, {
    kind: "concurrencyLimiting",
    base: { kind: "noop" },
    maximumConcurrency: 3,
  });
  assert.equal(fallback.primary("", "0").server, -1);
  assert.equal(fallback.secondary("", "0").server, 2);
  assert.deepEqual(fallback.replication, {
    kind: "deduplicating",
    base: { kind: "remote", endpoint: { address: "r:1" } },
  });
});

test("action results: are written where Buildbarn writes them, whatever they would be read from", () => {
  const configuration = {
    actionResultExpiring: {
      minimumValidity: "60s",
      backend: {
        hierarchicalInstanceNames: {
          readFallback: {
            primary: { readCaching: { fast: grpc("fast:1"), slow: grpc("slow:1") } },
            secondary: grpc("secondary:1"),
          },
        },
      },
    },
  };
  const { servers } = backend(configuration, "actionCache");
  assert.deepEqual(
    servers.map(({ endpoint }) => endpoint.address),
    ["slow:1"],
  );
});

const GEOMETRY = {
  keyLocationMapInMemory: { entries: "1000" },
  keyLocationMapMaximumGetAttempts: 16,
  keyLocationMapMaximumPutAttempts: "64",
  oldBlocks: 8,
  currentBlocks: 24,
  newBlocks: 3,
};

test("local: the outermost fast one is the blob cache, others are stores of their own", () => {
  const local = (path: string): JsonObject => ({
    local: {
      ...GEOMETRY,
      blocksOnBlockDevice: { source: { file: { path, sizeBytes: "10000000" } }, spareBlocks: 3 },
    },
  });
  const replicator = { local: {} };
  const fast = { readCaching: { slow: grpc("slow:1"), fast: local("/inner"), replicator } };
  const mirrored = {
    mirrored: {
      backendA: local("/a"),
      backendB: fast,
      replicatorAToB: replicator,
      replicatorBToA: replicator,
    },
  };
  const configuration = { readCaching: { slow: mirrored, fast: local("/cache"), replicator } };
  const { combinations } = backend(configuration);
  const path = (options: LocalStoreOptions) => options.blocks.kind === "file" && options.blocks.path;
  assert.deepEqual(
    combinations.map((each) => (each.kind === "local" ? path(each.options) : each.kind)),
    ["/a", "/inner", "readCaching", "mirrored"],
  );
  const made = blobBackend(
    fromJson(BlobAccessConfigurationSchema, configuration),
    FieldPath.root("blobs"),
    "contentAddressableStorage",
  );
  assert.equal(path(made.blobCache!), "/cache");
  assert.throws(
    () => backend(local("/x"), "actionCache"),
    /^ConfigurationError: blobs\.local is not supported: .* by grpc/,
  );
});

test("readCaching: the blob cache is filled whatever the replicator, which says so where it would not be", () => {
  const fast = {
    local: {
      ...GEOMETRY,
      blocksInMemory: { blockSizeBytes: "100000" },
    },
  };
  const noted = (replicator: JsonObject) => {
    const path = FieldPath.root("blobs");
    const json = { readCaching: { slow: grpc("slow:1"), fast, replicator } };
    const { blobCache } = path.settingsOf(() =>
      blobBackend(fromJson(BlobAccessConfigurationSchema, json), path, "contentAddressableStorage"),
    );
    assert.equal(blobCache?.blocks.kind, "memory");
    return path.doneOtherwise.map(({ field }) => field);
  };
  assert.deepEqual(noted({ local: {} }), []);
  assert.deepEqual(noted({ noop: {} }), ["blobs.readCaching.replicator.noop"]);
  assert.deepEqual(noted({ deduplicating: { remote: { address: "r:1" } } }), [
    "blobs.readCaching.replicator.deduplicating.remote",
  ]);
  assert.throws(() => noted({}), /replicator is empty: give/);
});

test("labels: one backend used in several places is one server", () => {
  const configuration = {
    withLabels: {
      labels: { storage: grpc("a:1") },
      backend: {
        demultiplexing: {
          instanceNamePrefixes: {
            "": { backend: { label: "storage" } },
            b: { backend: { label: "storage" } },
          },
        },
      },
    },
  };
  assert.equal(backend(configuration).servers.length, 1);
  assert.equal(route(configuration, "b/c"), "a:1 c");
});

for (const [what, configuration, message] of [
  ["nothing", {}, /^blobs is empty: give grpc, local, or /],
  [
    "a local backend without blocks",
    { local: { newBlocks: 1 } },
    /^blobs\.local\.blocksOnBlockDevice is missing: /,
  ],
  [
    "one within another",
    { deadlineEnforcing: { timeout: "1s", backend: { zipReading: {} } } },
    /^blobs\.deadlineEnforcing\.backend\.zipReading is not supported: let a bb_storage/,
  ],
  [
    "all parts of a combination that are missing",
    { mirrored: {} },
    /^blobs\.mirrored\.backendA is missing[\s\S]*backendB is missing[\s\S]*replicatorAToB is empty[\s\S]*replicatorBToA/,
  ],
  [
    "a label within itself",
    {
      withLabels: {
        labels: { a: grpc("a:1") },
        backend: { withLabels: { labels: { a: grpc("b:1") }, backend: { label: "a" } } },
      },
    },
    /^blobs\.withLabels\.backend\.withLabels\.labels\["a"\]: an enclosing/,
  ],
  [
    "other instance names for blobs",
    { hierarchicalInstanceNames: grpc("a:1") },
    /hierarchicalInstanceNames is not/,
  ],
  ["no client", { grpc: {} }, /^blobs\.grpc\.client\.address is missing/],
  ["an unknown label", { label: "x" }, /^blobs\.label: .*"x"/],
  ["no shards", { sharding: {} }, /^blobs\.sharding\.shards is empty/],
  ["a weightless shard", { sharding: { shards: { k: { backend: grpc("a:1") } } } }, /shards\["k"\]\.weight/],
  [
    "no time",
    { deadlineEnforcing: { backend: grpc("a:1") } },
    /^blobs\.deadlineEnforcing\.timeout is missing/,
  ],
  ["no size", { existenceCaching: { backend: grpc("a:1") } }, /existenceCache is missing: give cacheSize/],
  [
    "a reserved instance name",
    { demultiplexing: { instanceNamePrefixes: { "a/blobs": { backend: grpc("a:1") } } } },
    /"blobs"/,
  ],
] as const satisfies readonly (readonly [string, JsonValue, RegExp])[]) {
  test(`refused, with the field's name: ${what}`, () => {
    assert.throws(
      () => backend(configuration),
      (error) => error instanceof ConfigurationError && message.test(error.message),
    );
  });
}

for (const [what, store, configuration] of [
  ["blobs", "contentAddressableStorage", { completenessChecking: { backend: grpc("a:1") } }],
  ["action results", "actionCache", { existenceCaching: { backend: grpc("a:1") } }],
] as const) {
  test(`refused, since it would have no effect for ${what}`, () => {
    assert.throws(() => backend(configuration, store), /^ConfigurationError: blobs\.\w+ is not supported: /);
  });
}
