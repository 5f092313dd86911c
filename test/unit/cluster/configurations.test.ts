import assert from "node:assert/strict";
import { test } from "node:test";
import { fromJsonString } from "@bufbuild/protobuf";
import { defaultPools } from "../../../src/cluster/cluster.ts";
import { runnerConfiguration, workerConfiguration } from "../../../src/cluster/configurations.ts";
import { bbRunnerSettings } from "../../../src/config/bb-runner/application.ts";
import { bbWorkerSettings } from "../../../src/config/bb-worker/application.ts";
import type { VirtualBuildDirectorySettings } from "../../../src/config/bb-worker/build-directory.ts";
import { ApplicationConfigurationSchema as RunnerSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { ApplicationConfigurationSchema as WorkerSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";

const places = {
  serverAddress: "unix:/run/server",
  mountPath: "/run/build",
  filePoolPath: "/data/pool",
  runnerSocket: ({ name }: { name: string }) => `/run/runner-${name}`,
};

test("the worker accepts its configuration: one mount, a runner for each pool", () => {
  const text = workerConfiguration(defaultPools(3), places);
  const { buildDirectories, scheduler } = bbWorkerSettings(fromJsonString(WorkerSchema, text));
  assert.equal(scheduler.address, "unix:/run/server");
  assert.equal(buildDirectories.length, 1);
  const [{ mountPath, runners }] = buildDirectories as [VirtualBuildDirectorySettings];
  assert.equal(mountPath, "/run/build");
  assert.deepEqual(
    runners.map((runner) => [
      runner.endpoint.address,
      runner.concurrency,
      runner.inputRootCharacterDeviceNodes.length,
    ]),
    [
      ["unix:/run/runner-plain", 3, 0],
      ["unix:/run/runner-chroot", 3, 6],
    ],
  );
});

test("the runners accept theirs, and one of them changes the root", () => {
  const settings = defaultPools(1).map((pool) =>
    bbRunnerSettings(fromJsonString(RunnerSchema, runnerConfiguration(pool, places))),
  );
  assert.deepEqual(
    settings.map(({ buildDirectoryPath, chrootIntoInputRoot, grpcServers }) => [
      buildDirectoryPath,
      chrootIntoInputRoot,
      grpcServers[0]?.listenPaths,
    ]),
    [
      ["/run/build", false, ["/run/runner-plain"]],
      ["/run/build", true, ["/run/runner-chroot"]],
    ],
  );
});
