import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { bbRunnerSettings } from "../../../src/config/bb-runner/application.ts";
import { ConfigurationError } from "../../../src/config/error.ts";
import { ApplicationConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import type { ConfigurationSchema as HttpServerSchema } from "../../../src/proto/gen/buildbarn/configuration/http/server/server_pb.ts";

type Configuration = Exclude<MessageInitShape<typeof ApplicationConfigurationSchema>, { $typeName: string }>;

const complete: Configuration = {
  buildDirectoryPath: "/worker/build",
  grpcServers: [
    {
      listenPaths: ["/worker/runner"],
      authenticationPolicy: { policy: { case: "allow", value: {} } },
    },
  ],
};

const settingsOf = (changes: Configuration) =>
  bbRunnerSettings(create(ApplicationConfigurationSchema, { ...complete, ...changes }));

describe("the runner's configuration", () => {
  it("takes paths relative to the runner's own directory, except for the build directory", () => {
    const { cleanTemporaryDirectories, readinessCheckingPathnames, symlinkTemporaryDirectories } = settingsOf(
      {
        cleanTemporaryDirectories: ["a/../b"],
        readinessCheckingPathnames: [".", "/c"],
        symlinkTemporaryDirectories: ["../d"],
      },
    );
    const directory = process.cwd();
    assert.deepEqual(cleanTemporaryDirectories, [join(directory, "b")]);
    assert.deepEqual(readinessCheckingPathnames, [directory, "/c"]);
    assert.deepEqual(symlinkTemporaryDirectories, [join(directory, "../d")]);
  });

  it("is refused, by the field's name, where it is wrong or asks for what is not supported", () => {
    const cases: [Configuration, RegExp][] = [
      [{ buildDirectoryPath: "" }, /^buildDirectoryPath is "": give an absolute path/],
      [{ buildDirectoryPath: "build" }, /^buildDirectoryPath is "build"/],
      [{ grpcServers: [] }, /^grpcServers is empty: give at least one/],
      [{ temporaryDirectoryInstaller: {} }, /^temporaryDirectoryInstaller\.address is missing/],
      [{ appleXcodeDeveloperDirectories: { a: "b" } }, /^appleXcodeDeveloperDirectories is not supported/],
      [{ readinessCheckingPathnames: ["/a", ""] }, /^readinessCheckingPathnames\[1\] is ""/],
      [
        { global: { grpcKubernetesResolvers: { k8s: {} } } },
        /^global\.grpcKubernetesResolvers\["k8s"\]\.apiServerUrl is "": give "http/,
      ],
      [
        { global: { diagnosticsHttpServer: { httpServers: [{ listenAddresses: ["80"] }] } } },
        /httpServers\[0\]\.listenAddresses\[0\] is "80": give "HOST:PORT"[\s\S]*authenticationPolicy is missing: give \{"allow"/,
      ],
      [{ global: { setResourceLimits: { FILES: {} } } }, /"FILES".*NOFILE/],
      [
        { global: { setResourceLimits: { NOFILE: { softLimit: 2n, hardLimit: 1n } } } },
        /setResourceLimits\["NOFILE"\]: the soft limit is above/,
      ],
      [
        { bbWorkerNfs4: { additionalCapabilities: ["KILL", "CAP_SYS_ADMIN"] } },
        /^bbWorkerNfs4\.additionalCapabilities\[1\] is "CAP_SYS_ADMIN": give one of CHOWN, .*SYS_ADMIN, /,
      ],
      [
        { bbWorkerNfs4: { additionalSystemCalls: ["mounts"] } },
        /^bbWorkerNfs4\.additionalSystemCalls\[0\] is "mounts": give one of .*mount, /,
      ],
      [{ bbWorkerNfs4: { additionalDevices: ["/dev/../sda"] } }, /additionalDevices\[0\] .* below \/dev$/],
      [{ bbWorkerNfs4: { additionalDevices: ["/dev"] } }, /additionalDevices\[0\] .* below \/dev$/],
      [{ bbWorkerNfs4: { writablePaths: ["home"] } }, /^bbWorkerNfs4\.writablePaths\[0\] is "home"/],
      [{ bbWorkerNfs4: { hiddenPaths: ["home"] } }, /^bbWorkerNfs4\.hiddenPaths\[0\] is "home"/],
      [{ bbWorkerNfs4: { hostName: "a b" } }, /^bbWorkerNfs4\.hostName is "a b"/],
      [{ bbWorkerNfs4: { hostName: "a".repeat(65) } }, /^bbWorkerNfs4\.hostName .* at most 64/],
      [{ bbWorkerNfs4: { cpuWeight: 10_001 } }, /^bbWorkerNfs4\.cpuWeight is 10001: give at most 10000/],
      [{ global: { setUmask: { umask: 0o1000 } } }, /^global\.setUmask\.umask is 512: give at most/],
    ];
    for (const [changes, message] of cases) {
      assert.throws(
        () => settingsOf(changes),
        (error: unknown) => {
          assert.ok(error instanceof ConfigurationError, String(error));
          assert.match(error.message, message);
          return true;
        },
      );
    }
  });

  it("forwards headers to whom it calls for others: the installer of temporary directories, and authenticators", () => {
    const global = { grpcForwardAndReuseMetadata: ["authorization"] };
    const { temporaryDirectoryInstaller, doneOtherwise } = settingsOf({
      global,
      temporaryDirectoryInstaller: { address: "a:1" },
    });
    assert.deepEqual(temporaryDirectoryInstaller, { address: "a:1", forwardedHeaders: ["authorization"] });
    assert.deepEqual(doneOtherwise, []);
    assert.deepEqual(
      settingsOf({ global }).doneOtherwise.map(({ field }) => field),
      ["global.grpcForwardAndReuseMetadata"],
    );
    const remote = { case: "remote", value: { endpoint: { address: "b:1" } } } as const;
    const asking = settingsOf({
      global,
      grpcServers: [
        {
          listenPaths: ["/x"],
          authenticationPolicy: { policy: { case: "all", value: { policies: [{ policy: remote }] } } },
        },
      ],
    });
    assert.deepEqual(asking.doneOtherwise, []);
    assert.deepEqual(asking.grpcServers[0]?.authentication, {
      kind: "all",
      policies: [
        {
          kind: "remote",
          endpoint: { address: "b:1", forwardedHeaders: ["authorization"] },
          headers: [],
          scope: undefined,
          maximumCacheSize: 0,
        },
      ],
    });
  });

  it("has schemes of addresses that Kubernetes knows", () => {
    const resolvers = (scheme: string, apiServerUrl = "https://api") =>
      settingsOf({ global: { grpcKubernetesResolvers: { [scheme]: { apiServerUrl } } } }).kubernetesResolvers;
    const apiServerHttpClient = { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined };
    assert.deepEqual(resolvers("kubernetes"), [
      { scheme: "kubernetes", apiServerUrl: "https://api", apiServerHttpClient },
    ]);
    for (const scheme of ["dns", "unix", "", "Kubernetes", "a:b"]) {
      assert.throws(() => resolvers(scheme), /grpcKubernetesResolvers\[".*"\]: its key is no new scheme/);
    }
    assert.throws(
      () => resolvers("kubernetes", "api"),
      /\["kubernetes"\]\.apiServerUrl is "api": give "http/,
    );
  });

  it("has diagnostics servers, and who may ask them", () => {
    const httpServers: MessageInitShape<typeof HttpServerSchema>[] = [
      {
        listenAddresses: [":9980", "[::1]:80"],
        authenticationPolicy: { policy: { case: "allow", value: {} } },
      },
      {
        listenAddresses: ["a:1"],
        authenticationPolicy: {
          policy: { case: "any", value: { policies: [{ policy: { case: "deny", value: "no" } }] } },
        },
      },
    ];
    const { diagnostics, doneOtherwise } = settingsOf({
      global: { diagnosticsHttpServer: { httpServers, enablePrometheus: true } },
    });
    assert.deepEqual(diagnostics.servers, [
      {
        addresses: [
          { host: "", port: 9980 },
          { host: "::1", port: 80 },
        ],
        tls: undefined,
        authentication: { kind: "allow", metadata: {} },
      },
      {
        addresses: [{ host: "a", port: 1 }],
        tls: undefined,
        authentication: { kind: "any", policies: [{ kind: "deny", message: "no" }] },
      },
    ]);
    assert.equal(diagnostics.prometheus, true);
    assert.deepEqual(doneOtherwise, []);
  });

  it("has limits of which absent ones are unlimited, and credentials as they are given", () => {
    const settings = settingsOf({
      global: { setUmask: { umask: 0o27 }, setResourceLimits: { NOFILE: { softLimit: 1024n }, CORE: {} } },
      runCommandsAs: { userId: 1, groupId: 2, additionalGroupIds: [3] },
    });
    const unlimited = 2n ** 64n - 1n;
    assert.deepEqual(settings.resourceLimits, [
      { name: "NOFILE", resource: 7, soft: 1024n, hard: unlimited },
      { name: "CORE", resource: 4, soft: unlimited, hard: unlimited },
    ]);
    assert.equal(settings.umask, 0o27);
    assert.equal(settings.runCommandsAs?.additionalGroupIds[0], 3);
  });
});
