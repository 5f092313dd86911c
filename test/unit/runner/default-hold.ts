import { create } from "@bufbuild/protobuf";
import { bbRunnerSettings } from "../../../src/config/bb-runner/application.ts";
import { ApplicationConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { holdOf } from "../../../src/runner/hold.ts";
import type { Hold } from "../../../src/runner/spawn/command.ts";
import { Spawner } from "../../../src/runner/spawn/spawner.ts";

const settings = bbRunnerSettings(
  create(ApplicationConfigurationSchema, {
    buildDirectoryPath: "/unused",
    grpcServers: [
      { listenPaths: ["/unused"], authenticationPolicy: { policy: { case: "allow", value: {} } } },
    ],
  }),
);
const isolatedHold = holdOf(settings, true);

await using spawner = new Spawner();

/** Whether commands can have namespaces of their own here. */
export const canIsolate = await spawner.probe(isolatedHold).then(
  () => true,
  () => false,
);

/** How a runner without settings of ours holds commands that are not chrooted, as far as this machine can. */
export const defaultHold: Hold = canIsolate ? isolatedHold : holdOf(settings, false);

/** The same for chrooted ones. */
export const chrootedHold: Hold = { ...defaultHold, chrootIntoInputRoot: true };
