#!/usr/bin/env -S MALLOC_ARENA_MAX=2 node --max-semi-space-size=4
import { bbWorkerSettings } from "../config/bb-worker/application.ts";
import { order } from "../config/command-line.ts";
import { ConfigurationError } from "../config/error.ts";
import { registerKubernetesResolvers } from "../grpc/kubernetes/resolver.ts";
import { connectOtlp } from "../grpc/otlp-connection.ts";
import { MountError } from "../mount/index.ts";
import { ApplicationConfigurationSchema } from "../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { createLog, type Log } from "../telemetry/log.ts";
import { logToFiles } from "../telemetry/log-files.ts";
import { LOG_ENVIRONMENT, logSettings } from "../telemetry/log-settings.ts";
import { logStart } from "../telemetry/start-banner.ts";
import { Telemetry } from "../telemetry/telemetry.ts";
import { mountByNfs } from "./build-directory/nfs-mounted-tree.ts";
import { setResourceLimits } from "./resource-limits.ts";
import { Worker } from "./worker.ts";

const USAGE = `Usage: bb_worker [--check | --reformat] CONFIG.jsonnet | --version | --help

Takes actions from a Buildbarn scheduler, serves their input roots by NFSv4 to this machine's kernel, and has them run
by bb_runner. CONFIG.jsonnet is a buildbarn.configuration.bb_worker.ApplicationConfiguration; see
configs/bb_worker.jsonnet. With - it is read from standard input. --check starts nothing: it prints, as JSON, the
settings with what was left out filled in, the fields that have no effect, and all that is wrong or not supported, and
ends with 0 if the configuration can be used, else with 1. --reformat empties the file or device of the blob cache,
whatever it holds; once, before its first use or after its sizes have been changed.
SIGTERM and SIGINT stop it: it waits for running actions, unmounts, and ends with 0. A second signal, or
BB_WORKER_GRACE_SECONDS after the first, hands back those that still run.

Environment:
  BB_WORKER_GRACE_SECONDS  how long a worker that is to stop waits for running actions (default: as long as they take)
${LOG_ENVIRONMENT}  MALLOC_ARENA_MAX         2, which a start by its first line sets, makes it some 30 MiB smaller
  GRPC_VERBOSITY, GRPC_TRACE, grpc_proxy, https_proxy, http_proxy, no_grpc_proxy, no_proxy
                           as for every program that uses grpc-js
The configuration has every variable of the environment, by std.extVar('NAME').
`;

const PROGRAM = {
  name: "bb_worker",
  usage: USAGE,
  schema: ApplicationConfigurationSchema,
  settingsOf: bbWorkerSettings,
};

async function main(): Promise<number> {
  let log = createLog();
  let worker: Worker;
  await using resources = new AsyncDisposableStack();
  const stopping = stopSignals(log);
  try {
    const words = process.argv.slice(2);
    const reformat = words[0] === "--reformat";
    const todo = order(PROGRAM, reformat ? words.slice(1) : words);
    if ("exitStatus" in todo) {
      return todo.exitStatus;
    }
    const { settings } = todo;
    log = logToFiles(settings.logPaths, logSettings(process.env));
    logStart(log, "bb_worker");
    for (const { field, instead } of settings.doneOtherwise) {
      log.info("a field has no effect", { field, instead });
    }
    setResourceLimits(settings.resourceLimits);
    if (settings.umask !== undefined) {
      process.umask(settings.umask);
    }
    registerKubernetesResolvers(settings.kubernetesResolvers);
    const telemetry = resources.use(await Telemetry.start(settings, connectOtlp, log));
    const { metrics, tracer } = telemetry;
    worker = await Worker.start(settings, mountByNfs, log, stopping.signal, { reformat, metrics, tracer });
    await telemetry.serve(worker.page).catch(async (error: unknown) => {
      await worker.stop(0);
      throw error;
    });
  } catch (error) {
    if (stopping.signal.aborted && error === stopping.signal.reason) {
      log.info("stopped before it was ready", { reason: error });
      return error === "failure" ? 1 : 0;
    }
    const problems = error instanceof ConfigurationError ? error.problems : [(error as Error).message];
    const expected = error instanceof ConfigurationError || error instanceof MountError;
    for (const problem of problems) {
      log.error(problem, expected ? {} : { stack: (error as Error).stack });
    }
    return 1;
  }
  // After that, no running action can succeed.
  const lost = worker.lost.then((error): StopReason => {
    log.error("a build directory or the storage was lost; actions are handed back, and the worker ends", {
      error,
    });
    worker.handBack();
    return "failure";
  });
  const reason = await Promise.race([stopping.first, lost]);
  log.info("stopping", { reason });
  stopping.second.then(() => worker.handBack());
  await worker.stop(graceMilliseconds(log));
  await resources.disposeAsync();
  log.info("stopped");
  return reason === "failure" ? 1 : 0;
}

type StopReason = NodeJS.Signals | "failure";

interface StopSignals {
  /** Aborted, with a StopReason, when the first reason to stop comes. */
  readonly signal: AbortSignal;
  /** The first reason to stop, and the second. */
  readonly first: Promise<StopReason>;
  readonly second: Promise<StopReason>;
}

function stopSignals(log: Log): StopSignals {
  const controller = new AbortController();
  const first = Promise.withResolvers<StopReason>();
  const second = Promise.withResolvers<StopReason>();
  const stop = (reason: StopReason): void => {
    (controller.signal.aborted ? second : first).resolve(reason);
    controller.abort(reason);
  };
  process.on("SIGTERM", stop);
  process.on("SIGINT", stop);
  process.on("uncaughtException", (error) => {
    log.error("a fault in the program: it finishes its running actions and exits", {
      error,
      stack: error.stack,
    });
    stop("failure");
  });
  return { signal: controller.signal, first: first.promise, second: second.promise };
}

/** undefined means without bound. */
function graceMilliseconds(log: Log): number | undefined {
  const { BB_WORKER_GRACE_SECONDS: text } = process.env;
  if (text === undefined) {
    return undefined;
  }
  const seconds = Number(text);
  if (Number.isFinite(seconds) && seconds >= 0) {
    return seconds * 1000;
  }
  log.warn("BB_WORKER_GRACE_SECONDS is not a number of seconds; actions are handed back at once");
  return 0;
}

main().then((status) => {
  process.exitCode = status;
});
