import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Command } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { RunRequestSchema } from "../../proto/gen/buildbarn/runner/runner_pb.ts";

/** What the runner is asked to do. `path` is that of the action's directory; the command's own variables take precedence. */
export function runRequest(
  command: Command,
  path: string,
  environmentVariables: Readonly<Record<string, string>>,
): MessageInitShape<typeof RunRequestSchema> {
  return {
    arguments: command.arguments,
    environmentVariables: {
      ...environmentVariables,
      ...Object.fromEntries(command.environmentVariables.map(({ name, value }) => [name, value])),
    },
    workingDirectory: command.workingDirectory,
    stdoutPath: `${path}/stdout`,
    stderrPath: `${path}/stderr`,
    inputRootDirectory: `${path}/root`,
    temporaryDirectory: `${path}/tmp`,
    serverLogsDirectory: `${path}/server_logs`,
  };
}
