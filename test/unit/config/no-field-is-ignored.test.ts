import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { isDeepStrictEqual } from "node:util";
import {
  create,
  type DescField,
  type DescMessage,
  fromJson,
  type JsonObject,
  type Message,
  ScalarType,
} from "@bufbuild/protobuf";
import type { BlobBackend } from "../../../src/cas/backend.ts";
import type { Route } from "../../../src/cas/blob-server.ts";
import { bbRunnerSettings } from "../../../src/config/bb-runner/application.ts";
import { bbWorkerSettings } from "../../../src/config/bb-worker/application.ts";
import { ConfigurationError } from "../../../src/config/error.ts";
import type { DoneOtherwise } from "../../../src/config/field-path.ts";
import { ApplicationConfigurationSchema as RunnerSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { ApplicationConfigurationSchema as WorkerSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { digestOf } from "../cas/fake-storage.ts";

/*
 * Every field of every message that a configuration has is given another value, one at a time. Each must change
 * the settings, or be refused by its path, or be reported by its path as one that has no effect. Each kind of message that is accepted must be in the configurations here,
 * so that its own fields are tried, too.
 */

/**
 * Accepted since Buildbarn's worker would do the same with another value: blobs are copied one copy at a time anyway,
 * completeness is checked where action results are read, which no worker does, and diagnostics without an address are not
 * served. Or since there is nothing that the
 * field could tune: which entries are trusted, and where they are, is noted in memory, and each batch is one write. Or
 * since a message with no field set says what its absence says.
 */
const EQUIVALENT = new RegExp(
  [
    /\.replicator\.local$/,
    /\.completenessChecking\.maximumTotalTreeSizeBytes$/,
    /\.diagnosticsHttpServer$/,
    /\.virtual\.bbWorkerNfs4$/,
    /\.dataIntegrityValidationCache\.(cacheSize|cacheReplacementPolicy)$/,
    /\.keyLocationMapOnBlockDevice\.file\.path$/,
    /\.fast\.local\..*\.writeConcurrencyLimit$/,
  ]
    .map(({ source }) => source)
    .join("|"),
);

const keyPair = { inline: { certificate: "certificate", privateKey: "key" } };
const file = import.meta.filename;
const folder = mkdtempSync(join(tmpdir(), "no-field-is-ignored-"));
after(() => rmSync(folder, { recursive: true }));
const keysFile = join(folder, "keys.json");
writeFileSync(keysFile, '{"keys":[]}');
const keyFiles = { files: { certificatePath: file, privateKeyPath: file, refreshInterval: "60s" } };
const tls = {
  serverCertificateAuthorities: "authorities",
  serverName: "name",
  clientKeyPair: keyPair,
  cipherSuites: ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"],
};
const expression = {
  expression: "a",
  files: [{ key: "f", path: file }],
  testVectors: [{ input: { files: { f: "" } }, expectedOutput: null }],
};
const oauth2 = {
  clientCredentials: {
    clientId: "id",
    clientSecret: "secret",
    tokenEndpointUrl: "https://tokens",
    httpClient: { proxyUrl: "http://proxy" },
  },
  scopes: ["scope"],
};
const client = {
  address: "storage:1",
  tls,
  keepalive: { time: "60s", timeout: "30s", permitWithoutStream: true },
  addMetadata: [{ header: "header", values: ["value"] }],
  initialWindowSizeBytes: 100_000,
  proxyUrl: "http://proxy",
  addMetadataJmespathExpression: expression,
  oauth2,
  defaultServiceConfig: { methodConfig: [] },
  tracing: {
    "/s/m": { attributesFromFirstRequestMessage: ["a"], attributesFromFirstResponseMessage: ["b"] },
  },
};
const jwt = (jwks: JsonObject) => ({
  ...jwks,
  maximumCacheSize: 10,
  cacheReplacementPolicy: "LEAST_RECENTLY_USED",
  claimsValidationJmespathExpression: expression,
  metadataExtractionJmespathExpression: expression,
});
const remote = (header: string) => ({
  headers: [header],
  endpoint: { address: "authentication:1" },
  scope: "runner",
  maximumCacheSize: 10,
  cacheReplacementPolicy: "LEAST_RECENTLY_USED",
});
const oidc = (source: JsonObject) => ({
  clientId: "id",
  clientSecret: "secret",
  authorizationEndpointUrl: "https://provider/authorize",
  tokenEndpointUrl: "https://provider/token",
  ...source,
  metadataExtractionJmespathExpression: expression,
  redirectUrl: "https://worker/callback",
  scopes: ["openid"],
  cookieSeed: "AAAA",
  httpClient: { proxyUrl: "http://proxy" },
});
const policies = [
  {
    tlsClientCertificate: {
      clientCertificateAuthorities: readFileSync(
        join(import.meta.dirname, "../grpc/certificates/first.pem"),
        "utf8",
      ),
      validationJmespathExpression: expression,
      metadataExtractionJmespathExpression: expression,
    },
  },
  { jwt: jwt({ jwksFile: keysFile }) },
  { remote: remote("x-user") },
  {
    allow: {
      public: "p",
      private: "q",
      tracingAttributes: [
        { key: "k", value: { arrayValue: { values: [{ stringValue: "v" }] } } },
        { key: "l", value: { kvlistValue: { values: [{ key: "m", value: { boolValue: true } }] } } },
      ],
    },
  },
];
const existenceCache = {
  cacheSize: "1000",
  cacheDuration: "60s",
  cacheReplacementPolicy: "LEAST_RECENTLY_USED",
};
const grpc = { grpc: { client, enableCompression: true } };
const plain = { grpc: { client: { address: "plain:1" } } };
const global = {
  setUmask: { umask: 0o22 },
  tracing: {
    backends: [
      {
        otlpSpanExporter: { address: "collector:1" },
        batchSpanProcessor: { batchTimeout: "5s", exportTimeout: "30s", maxQueueSize: "1000" },
      },
      { otlpSpanExporter: { address: "collector:2" }, simpleSpanProcessor: {} },
    ],
    resourceAttributes: [
      { key: "service.name", value: { stringValue: "worker" } },
      { key: "list", value: { arrayValue: { values: [{ intValue: "1" }] } } },
    ],
    sampler: {
      parentBased: {
        noParent: { maximumRate: { samplesPerEpoch: "10", epochDuration: "60s" } },
        localParentNotSampled: { never: {} },
        localParentSampled: { always: {} },
        remoteParentNotSampled: { traceIdRatioBased: 0.5 },
        remoteParentSampled: { always: {} },
      },
    },
  },
  grpcKubernetesResolvers: {
    kubernetes: { apiServerHttpClient: { proxyUrl: "http://proxy" }, apiServerUrl: "https://api" },
  },
  setResourceLimits: { NOFILE: { softLimit: "5", hardLimit: "10" } },
  diagnosticsHttpServer: {
    httpServers: [
      { listenAddresses: [":1"], authenticationPolicy: { allow: {} }, tls: { serverKeyPair: keyPair } },
      { listenAddresses: [":1"], authenticationPolicy: { any: { policies: [{ deny: "no" }] } } },
      { listenAddresses: [":1"], authenticationPolicy: { jwt: jwt({ jwksInline: { keys: [] } }) } },
      { listenAddresses: [":1"], authenticationPolicy: { remote: remote("X-User") } },
      {
        listenAddresses: [":1"],
        authenticationPolicy: { oidc: oidc({ userInfoEndpointUrl: "https://p/u" }) },
      },
      { listenAddresses: [":1"], authenticationPolicy: { oidc: oidc({ useIdTokenClaims: {} }) } },
      {
        listenAddresses: [":1"],
        authenticationPolicy: { acceptHeader: { mediaTypes: ["text/html"], policy: { deny: "no" } } },
      },
    ],
  },
};
const source = { file: { path: "/cache", sizeBytes: "10000000" } };
const blocksOnBlockDevice = {
  source,
  spareBlocks: 3,
  dataIntegrityValidationCache: {
    cacheSize: "1000",
    cacheDuration: "60s",
    cacheReplacementPolicy: "LEAST_RECENTLY_USED",
  },
};
const persistent = { stateDirectoryPath: "/state", minimumEpochInterval: "60s" };
const readCaching = (
  slow: JsonObject,
  keyLocationMap: JsonObject = { keyLocationMapInMemory: { entries: "1000" } },
  blocks: JsonObject = { blocksOnBlockDevice, persistent },
) => ({
  readCaching: {
    slow,
    fast: {
      local: {
        ...keyLocationMap,
        keyLocationMapMaximumGetAttempts: 16,
        keyLocationMapMaximumPutAttempts: "64",
        oldBlocks: 8,
        currentBlocks: 24,
        newBlocks: 3,
        ...blocks,
      },
    },
    replicator: { deduplicating: { local: {} } },
  },
});

const bbWorkerNfs4 = { inputsReadOnly: true, maximumOutputUploadDuration: "600s" };

const buildDirectory = (mount: JsonObject): JsonObject => ({
  virtual: {
    mount: { mountPath: "/build", ...mount },
    maximumExecutionTimeoutCompensation: "3600s",
    maximumWritableFileUploadDelay: "60s",
    hiddenFilesPattern: "^\\.nfs",
    bbWorkerNfs4,
  },
  runners: [
    {
      endpoint: client,
      concurrency: "2",
      platform: { properties: [{ name: "name", value: "value" }] },
      costsPerSecond: { cpu: { currency: "EUR", cost: 0.1 } },
    },
  ],
});

const worker = (contentAddressableStorage: JsonObject, actionCache: JsonObject = plain): JsonObject => ({
  scheduler: client,
  blobstore: { contentAddressableStorage, actionCache },
  browserUrl: "http://browser",
  maximumMessageSizeBytes: "1000",
  outputUploadConcurrency: "5",
  completedActionLoggers: [{ client, maximumSendQueueSize: 10, addInstanceNamePrefix: "prefix" }],
  httpExecutionTimeoutCompensators: [
    {
      httpClient: {
        tls,
        proxyUrl: "http://proxy",
        addHeaders: [{ header: "header", values: ["value"] }],
        oauth2,
      },
      suspendUrl: "http://server/suspend",
      resumeUrl: "http://server/resume",
    },
  ],
  filePool: { blockDevice: { file: { path: "/pool", sizeBytes: "1000" } } },
  directoryCache: {
    maximumCount: "10",
    maximumSizeBytes: "1000",
    cacheReplacementPolicy: "LEAST_RECENTLY_USED",
  },
  global,
  buildDirectories: [
    buildDirectory({
      nfsv4: {
        linux: { mountOptions: ["vers=4.1", "nconnect=2"] },
        announcedLeaseTime: "60s",
        enforcedLeaseTime: "120s",
      },
    }),
  ],
});

/** With all that is not about storage as short as can be. */
const lean = (contentAddressableStorage: JsonObject, actionCache: JsonObject = plain): JsonObject => ({
  scheduler: { address: "scheduler:1" },
  global: { setUmask: { umask: 0o22 } },
  blobstore: { contentAddressableStorage, actionCache },
  filePool: { blockDevice: { file: { path: "/pool", sizeBytes: "1000" } } },
  buildDirectories: [
    {
      virtual: {
        mount: { mountPath: "/build", nfsv4: { linux: { mountOptions: ["vers=4.1"] } } },
        bbWorkerNfs4,
      },
      runners: [{ endpoint: { address: "runner:1" }, concurrency: "1" }],
    },
  ],
});

/** No build directory is virtual. */
const native: JsonObject = {
  scheduler: { address: "scheduler:1" },
  global: { setUmask: { umask: 0o22 } },
  blobstore: { contentAddressableStorage: plain, actionCache: plain },
  buildDirectories: [
    {
      native: {
        buildDirectoryPath: "/build",
        cacheDirectoryPath: "/cache",
        maximumCacheFileCount: "10",
        maximumCacheSizeBytes: "1000",
        cacheReplacementPolicy: "RANDOM_REPLACEMENT",
      },
      runners: [{ endpoint: { address: "runner:1" }, concurrency: "1" }],
    },
  ],
};

const workers: JsonObject[] = [
  native,
  worker(grpc),
  lean(readCaching(plain)),
  lean(readCaching(plain, { keyLocationMapOnBlockDevice: source })),
  lean(readCaching(plain, undefined, { blocksInMemory: { blockSizeBytes: "100000" } })),
  lean(plain, { completenessChecking: { backend: plain, maximumTotalTreeSizeBytes: "1000" } }),
  lean({ error: { code: 14, message: "down" } }),
  lean({ sharding: { shards: { a: { backend: plain, weight: 1 }, b: { backend: grpc, weight: 1 } } } }),
  lean({
    demultiplexing: {
      instanceNamePrefixes: { a: { backend: plain, addInstanceNamePrefix: "x" }, "": { backend: grpc } },
    },
  }),
  lean({ existenceCaching: { backend: plain, existenceCache } }),
  lean((readCaching(plain).readCaching as JsonObject).fast as JsonObject),
  lean({
    mirrored: {
      backendA: plain,
      backendB: grpc,
      replicatorAToB: { concurrencyLimiting: { base: { local: {} }, maximumConcurrency: "3" } },
      replicatorBToA: { queued: { base: { remote: client }, existenceCache } },
    },
  }),
  lean({ readFallback: { primary: plain, secondary: grpc, replicator: { noop: {} } } }),
  lean({ readCaching: { slow: plain, fast: grpc, replicator: { local: {} } } }),
  lean({
    readCanarying: { source: plain, replica: grpc, maximumCacheSize: 5, maximumCacheDuration: "60s" },
  }),
  lean(plain, { readFallback: { primary: plain } }),
  lean(plain, { readCaching: { slow: plain } }),
  lean(plain, { readCanarying: { source: plain } }),
  lean(plain, { hierarchicalInstanceNames: plain }),
  lean(plain, { actionResultExpiring: { backend: plain } }),
  lean({ deadlineEnforcing: { timeout: "60s", backend: plain } }),
  lean({ withLabels: { labels: { a: plain }, backend: { label: "a" } } }),
  { ...lean(plain), buildDirectories: [buildDirectory({ fuse: { directoryEntryValidity: "300s" } })] },
];

const runners: JsonObject[] = [
  {
    buildDirectoryPath: "/build",
    grpcServers: [
      {
        listenPaths: ["/socket"],
        authenticationPolicy: { peerCredentialsJmespathExpression: expression },
        keepaliveParameters: { time: "2s" },
      },
    ],
    global: { setUmask: { umask: 0o22 } },
    bbWorkerNfs4: { mountProc: true },
  },
  ...[false, true].map((withTmpdir) => ({
    buildDirectoryPath: "/build",
    grpcServers: [
      {
        listenAddresses: [":1"],
        listenPaths: ["/socket"],
        authenticationPolicy: withTmpdir
          ? { any: { policies: [{ deny: "no" }, ...policies] } }
          : { all: { policies: [{ deny: "no" }] } },
        healthCheckService: "runner",
        relays: [{ endpoint: client, services: ["a.B"] }],
        keepaliveParameters: { maxConnectionIdle: "1s", time: "2s" },
        maximumReceivedMessageSizeBytes: "1000",
        initialWindowSizeBytes: 100_000,
        tls: { serverKeyPair: withTmpdir ? keyPair : keyFiles },
      },
    ],
    setTmpdirEnvironmentVariable: withTmpdir,
    temporaryDirectoryInstaller: client,
    global,
    runCommandsAs: { userId: 1, groupId: 2, additionalGroupIds: [3] },
    bbWorkerNfs4: {
      additionalCapabilities: ["SYS_PTRACE"],
      additionalSystemCalls: ["perf"],
      additionalDevices: ["/dev/kvm"],
      writablePaths: ["/home"],
      hiddenPaths: ["/worker/blobs"],
      hostName: "builder",
      mountProc: true,
      maximumProcesses: 100,
      maximumMemoryBytes: "1000000",
      cpuWeight: 50,
    },
  })),
];

type Settings = { readonly doneOtherwise: readonly DoneOtherwise[] };

/** What tells settings apart: routes, which are the only functions in them, are asked for some blobs. */
function comparable(settings: object): unknown {
  return JSON.parse(
    JSON.stringify(settings, (_name, value) => {
      if (typeof value === "bigint") {
        return `${value}n`;
      }
      return typeof value === "function" ? routesOf(value) : value;
    }),
  );
}

function routesOf(route: Route & BlobBackend["route"]): unknown[] {
  const digests = ["", "a", "b/c"].flatMap((instance) =>
    Array.from({ length: 20 }, (_, content) => digestOf(`${content}`, instance)),
  );
  return digests.map((digest) => {
    try {
      return route.length === 1 ? route(digest) : route(digest.instanceName, digest.hash);
    } catch (error) {
      return String((error as { code?: number }).code) + (error as Error).message;
    }
  });
}

/** A message's fields by name, as the generic code here reads and writes them. */
type Fields = Record<string, unknown>;

/** A field to try: how to give it its new value and how to put back the old one. */
interface Trial {
  readonly path: string;
  /** Of the message that is put where the configuration has none. */
  readonly newType: string | undefined;
  apply(): void;
  undo(): void;
}

function* trials(message: Message, schema: DescMessage, path: string, tried: Set<string>): Generator<Trial> {
  tried.add(schema.typeName);
  const fields = message as unknown as Fields;
  for (const field of schema.fields) {
    const here = path === "" ? field.jsonName : `${path}.${field.jsonName}`;
    const key = field.oneof?.localName ?? field.localName;
    const before = fields[key];
    const present = field.oneof
      ? (before as { case?: string }).case === field.localName
        ? (before as { value: unknown }).value
        : undefined
      : before;
    for (const value of otherValues(field, present)) {
      yield {
        path: here,
        newType:
          field.fieldKind === "message" && !isWellKnown(field.message) ? field.message.typeName : undefined,
        apply: () => {
          fields[key] = field.oneof ? { case: field.localName, value } : value;
        },
        undo: () => {
          fields[key] = before;
        },
      };
    }
    for (const [at, inner] of messagesIn(field, present)) {
      yield* trials(inner, field.message!, `${here}${at}`, tried);
    }
  }
}

/** The messages in a field that the configuration has, and where in the field. */
function messagesIn(field: DescField, value: unknown): [string, Message][] {
  if (field.message === undefined || isWellKnown(field.message) || value === undefined) {
    return [];
  }
  switch (field.fieldKind) {
    case "list":
      return (value as Message[]).map((item, index) => [`[${index}]`, item]);
    case "map":
      return Object.entries(value as Record<string, Message>).map(([key, item]) => [
        `[${JSON.stringify(key)}]`,
        item,
      ]);
    default:
      return [["", value as Message]];
  }
}

/** Durations, wrappers and the like are values, not messages with fields. */
function isWellKnown(schema: DescMessage): boolean {
  return schema.typeName.startsWith("google.protobuf.");
}

function otherValues(field: DescField, present: unknown): unknown[] {
  switch (field.fieldKind) {
    case "scalar":
      return [otherScalar(field.scalar, present)];
    case "enum":
      return field.enum.values.map(({ number }) => number).filter((number) => ![0, present].includes(number));
    case "message":
      return [otherMessage(field.message, present)].filter((value) => value !== undefined);
    case "list":
      return [[...(present as unknown[]), elementOf(field)]];
    case "map":
      return [{ ...(present as object), other: elementOf(field) }];
  }
}

function elementOf(field: DescField & { fieldKind: "list" | "map" }): unknown {
  if (field.message !== undefined) {
    return otherMessage(field.message, undefined);
  }
  return field.scalar === undefined ? 1 : otherScalar(field.scalar, undefined);
}

/** undefined for a message that is there and whose fields are tried one by one. */
function otherMessage(schema: DescMessage, present: unknown): unknown {
  switch (schema.typeName) {
    case "google.protobuf.Duration":
      return fromJson(schema, "180s");
    case "google.protobuf.Value":
      return fromJson(schema, "other");
    case "google.protobuf.UInt64Value":
      return 7n;
    case "google.protobuf.UInt32Value":
      return 7;
    default:
      return present === undefined ? create(schema) : undefined;
  }
}

function otherScalar(type: ScalarType, present: unknown): unknown {
  switch (type) {
    case ScalarType.BOOL:
      return present !== true;
    case ScalarType.STRING:
      return "/other";
    case ScalarType.BYTES:
      return new Uint8Array(1);
    case ScalarType.INT64:
    case ScalarType.UINT64:
      return 77n;
    default:
      return 77;
  }
}

for (const [program, schema, settingsOf, configurations] of [
  ["bb_worker", WorkerSchema, bbWorkerSettings as (message: never) => Settings, workers],
  ["bb_runner", RunnerSchema, bbRunnerSettings as (message: never) => Settings, runners],
] as const) {
  describe(`${program}'s configuration`, () => {
    it("has no field that is silently ignored", () => {
      const ignored = new Set<string>();
      const accepted = new Set<string>();
      const tried = new Set<string>();
      for (const json of configurations) {
        const configuration = fromJson(schema as DescMessage, json);
        const before = comparable(settingsOf(configuration as never));
        for (const { path, newType, apply, undo } of trials(configuration, schema, "", tried)) {
          apply();
          const how = outcome(() => settingsOf(configuration as never), path, before);
          undo();
          if (how === "ignored" && !EQUIVALENT.test(path)) {
            ignored.add(path);
          }
          if (how === "used" && newType !== undefined) {
            accepted.add(newType);
          }
        }
      }
      assert.deepEqual([...ignored], []);
      assert.deepEqual(
        [...accepted].filter((type) => !tried.has(type)),
        [],
      );
    });
  });
}

type Outcome = "used" | "done otherwise" | "refused" | "ignored";

function outcome(settings: () => Settings, path: string, before: unknown): Outcome {
  let after: unknown;
  try {
    const made = settings();
    after = comparable(made);
    if (made.doneOtherwise.some(({ field }) => field === path)) {
      return "done otherwise";
    }
  } catch (error) {
    assert.ok(error instanceof ConfigurationError, `${path}: ${error}`);
    // By its path; an error about two fields begins with the path of one of them.
    const named = error.problems.some(
      (problem) => problem.startsWith(path) || problem.includes(` ${path.split(".").at(-1)}`),
    );
    assert.ok(named, `${path}: its error does not name it: ${error.message}`);
    return "refused";
  }
  return isDeepStrictEqual(after, before) ? "ignored" : "used";
}
