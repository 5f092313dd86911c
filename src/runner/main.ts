#!/usr/bin/env node
import { bbRunnerSettings } from "../config/bb-runner/application.ts";
import { ConfigurationError } from "../config/error.ts";
import { loadConfiguration } from "../config/load-configuration.ts";
import { ApplicationConfigurationSchema } from "../proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { createLog } from "../telemetry/log.ts";
import { startRunner } from "./server.ts";
import { forbidTracing } from "./untraceable.ts";

const USAGE = `Usage: bb_runner CONFIG.jsonnet

Runs the commands of actions for bb_worker: serves buildbarn.runner.Runner, as Buildbarn's bb_runner does.
CONFIG.jsonnet is a buildbarn.configuration.bb_runner.ApplicationConfiguration; see configs/bb_runner.jsonnet.
SIGTERM stops it: running commands are ended (with stopGracefully: may end within 25 s), and none is left behind.
`;

/** Less than Kubernetes' default time between SIGTERM and SIGKILL. */
const GRACE_MILLISECONDS = 25_000;

async function main(): Promise<void> {
  const [path, ...more] = process.argv.slice(2);
  if (path === "--help" || path === "-h") {
    process.stdout.write(USAGE);
    return;
  }
  if (path === undefined || path.startsWith("-") || more.length > 0) {
    process.stderr.write(USAGE);
    process.exitCode = 2;
    return;
  }
  forbidTracing();
  const log = createLog();
  // Before there is anything to end: as a container's first process this one would ignore them otherwise.
  const { promise: stop, resolve } = Promise.withResolvers<NodeJS.Signals>();
  process.once("SIGTERM", resolve);
  process.once("SIGINT", resolve);
  const settings = bbRunnerSettings(loadConfiguration(path, ApplicationConfigurationSchema));
  const runner = await startRunner(settings, log);
  log.info("stopping", { signal: await stop });
  await runner.close(GRACE_MILLISECONDS);
  // Everything has been waited for.
  process.exit(0);
}

main().catch((error: unknown) => {
  const message = error instanceof ConfigurationError ? error.message : (error as Error).stack;
  process.stderr.write(`bb_runner: ${message}\n`);
  process.exitCode = 1;
});
