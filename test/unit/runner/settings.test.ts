import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ConfigurationError } from "../../../src/config/error.ts";
import { ApplicationConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { runnerSettings } from "../../../src/runner/settings.ts";

type Configuration = Exclude<MessageInitShape<typeof ApplicationConfigurationSchema>, { $typeName: string }>;

const complete: Configuration = {
  buildDirectoryPath: "/worker/build",
  grpcServers: [{ listenPaths: ["/worker/runner"] }],
};

const settingsOf = (changes: Configuration) =>
  runnerSettings(create(ApplicationConfigurationSchema, { ...complete, ...changes }));

describe("the runner's configuration", () => {
  it("is refused, by the field's name, where it is wrong or asks for what is not supported", () => {
    const cases: [Configuration, RegExp][] = [
      [{ buildDirectoryPath: "" }, /^buildDirectoryPath: expected an absolute path, got ""/],
      [{ buildDirectoryPath: "build" }, /^buildDirectoryPath: .*"build"/],
      [{ grpcServers: [] }, /^grpcServers: at least one/],
      [
        { temporaryDirectoryInstaller: { address: "a:1" } },
        /^temporaryDirectoryInstaller is not supported: use/,
      ],
      [{ appleXcodeDeveloperDirectories: { a: "b" } }, /^appleXcodeDeveloperDirectories is not supported/],
      [{ readinessCheckingPathnames: ["/a", "b"] }, /^readinessCheckingPathnames\[1\]: .*"b"/],
      [
        { chrootIntoInputRoot: true, setTmpdirEnvironmentVariable: true },
        /^setTmpdirEnvironmentVariable cannot/,
      ],
      [{ global: { logPaths: ["/log"] } }, /^global\.logPaths is not supported/],
      [{ global: { setResourceLimits: { FILES: {} } } }, /"FILES".*NOFILE/],
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

  it("has limits of which absent ones are unlimited, and credentials as they are given", () => {
    const settings = settingsOf({
      global: { setUmask: { umask: 0o27 }, setResourceLimits: { NOFILE: { softLimit: 1024n }, CORE: {} } },
      runCommandsAs: { userId: 1, groupId: 2, additionalGroupIds: [3] },
    });
    const unlimited = 2n ** 64n - 1n;
    assert.deepEqual(settings.limits, [
      { resource: 7, soft: 1024n, hard: unlimited },
      { resource: 4, soft: unlimited, hard: unlimited },
    ]);
    assert.equal(settings.umask, 0o27);
    assert.equal(settings.credentials?.additionalGroupIds[0], 3);
  });
});
