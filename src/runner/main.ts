#!/usr/bin/env node
import { bbRunnerSettings } from "../config/bb-runner/application.ts";
import { order } from "../config/command-line.ts";
import { ConfigurationError } from "../config/error.ts";
import { registerKubernetesResolvers } from "../grpc/kubernetes/resolver.ts";
import { connectOtlp } from "../grpc/otlp-connection.ts";
import { ApplicationConfigurationSchema } from "../proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { logToFiles } from "../telemetry/log-files.ts";
import { LOG_ENVIRONMENT, logSettings } from "../telemetry/log-settings.ts";
import { logStart } from "../telemetry/start-banner.ts";
import { Telemetry } from "../telemetry/telemetry.ts";
import { startRunner } from "./server.ts";
import { forbidTracing } from "./untraceable.ts";

const USAGE = `Usage: bb_runner [--check] CONFIG.jsonnet | --version | --help

Runs the commands of actions for bb_worker: serves buildbarn.runner.Runner, as Buildbarn's bb_runner does.
CONFIG.jsonnet is a buildbarn.configuration.bb_runner.ApplicationConfiguration; see configs/bb_runner.jsonnet.
With - it is read from standard input. --check starts nothing: it prints, as JSON, the settings with what was left out
filled in, the fields that have no effect, and all that is wrong or not supported, and ends with 0 if the configuration
can be used, else with 1.
SIGTERM stops it: running commands are ended (with stopGracefully: may end within 25 s), and none is left behind.

Environment:
${LOG_ENVIRONMENT}  GRPC_VERBOSITY, GRPC_TRACE, grpc_proxy, https_proxy, http_proxy, no_grpc_proxy, no_proxy
                           as for every program that uses grpc-js
The configuration has every variable of the environment, by std.extVar('NAME').
`;

/** Less than Kubernetes' default time between SIGTERM and SIGKILL. */
const GRACE_MILLISECONDS = 25_000;

const PROGRAM = {
  name: "bb_runner",
  usage: USAGE,
  schema: ApplicationConfigurationSchema,
  settingsOf: bbRunnerSettings,
};

async function main(): Promise<void> {
  // Before there is anything to end: as a container's first process this one would ignore them otherwise.
  const { promise: stop, resolve } = Promise.withResolvers<NodeJS.Signals>();
  process.once("SIGTERM", resolve);
  process.once("SIGINT", resolve);
  const todo = order(PROGRAM, process.argv.slice(2));
  if ("exitStatus" in todo) {
    process.exit(todo.exitStatus);
  }
  const { settings } = todo;
  forbidTracing();
  const log = logToFiles(settings.logPaths, logSettings(process.env));
  logStart(log, "bb_runner");
  for (const { field, instead } of settings.doneOtherwise) {
    log.info("a field has no effect", { field, instead });
  }
  registerKubernetesResolvers(settings.kubernetesResolvers);
  const telemetry = await Telemetry.start(settings, connectOtlp, log);
  const runner = await startRunner(settings, log, telemetry);
  await telemetry.serve(runner.page).catch(async (error: unknown) => {
    await runner.close();
    throw error;
  });
  log.info("stopping", { signal: await stop });
  await runner.close(GRACE_MILLISECONDS);
  await telemetry[Symbol.asyncDispose]();
  // Everything has been waited for.
  process.exit(0);
}

main().catch((error: unknown) => {
  const problems = error instanceof ConfigurationError ? error.problems : [(error as Error).stack];
  for (const problem of problems) {
    process.stderr.write(`bb_runner: ${problem}\n`);
  }
  process.exitCode = 1;
});
