import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { bbRunnerSettings } from "../../../src/config/bb-runner/application.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { openChannel } from "../../../src/grpc/endpoint.ts";
import { ApplicationConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { Runner, type RunRequestSchema } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { startRunner } from "../../../src/runner/server.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import { makeBuildDirectory } from "./root-file-system.ts";

type Configuration = MessageInitShape<typeof ApplicationConfigurationSchema>;

/** A runner on a UNIX socket, a client of it, and an action's directory "1" with an input root "1/root". */
export async function startTestRunner(
  test: TestContext,
  changes: Configuration = {},
  stopGracefully = false,
) {
  const buildDirectory = makeBuildDirectory(test);
  mkdirSync(join(buildDirectory, "1/root"), { recursive: true });
  const socket = join(buildDirectory, "socket");
  const lines: string[] = [];
  const runner = await startRunner(
    bbRunnerSettings(
      create(ApplicationConfigurationSchema, {
        buildDirectoryPath: buildDirectory,
        grpcServers: [
          {
            listenPaths: [socket],
            authenticationPolicy: { policy: { case: "allow", value: {} } },
            stopGracefully,
          },
        ],
        ...changes,
      }),
    ),
    createLog("info", (line) => lines.push(line)),
  );
  const channel = openChannel({ address: `unix:${socket}` });
  test.after(async () => {
    channel.close();
    await runner.close();
  });
  const client = createClient(Runner, channel);
  const request = (script: string, more: MessageInitShape<typeof RunRequestSchema> = {}) => ({
    arguments: ["sh", "-c", script],
    environmentVariables: { PATH: "/usr/bin:/bin" },
    stdoutPath: "1/stdout",
    stderrPath: "1/stderr",
    inputRootDirectory: "1/root",
    temporaryDirectory: "1/tmp",
    ...more,
  });
  return { buildDirectory, socket, runner, client, request, lines };
}
