#!/usr/bin/env -S MALLOC_ARENA_MAX=2 node --max-semi-space-size=4
/** Program: bb_worker [--reformat] CONFIG.jsonnet. */
import { bbWorkerSettings } from "../config/bb-worker/application.ts";
import { ConfigurationError } from "../config/error.ts";
import { loadConfiguration } from "../config/load-configuration.ts";
import { MountError } from "../mount/index.ts";
import { ApplicationConfigurationSchema } from "../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { createLog, type Log } from "../telemetry/log.ts";
import { mountByNfs } from "./build-directory/nfs-mounted-tree.ts";
import { Worker } from "./worker.ts";

const USAGE = `Usage: bb_worker [--reformat] CONFIG.jsonnet

Takes actions from a Buildbarn scheduler, serves their input roots by NFSv4 to this machine's kernel, and has them run
by bb_runner. CONFIG.jsonnet is a buildbarn.configuration.bb_worker.ApplicationConfiguration; see
configs/bb_worker.jsonnet.
--reformat empties the file or device of the blob cache, whatever it holds; once, before its first use or after its
sizes have been changed.
SIGTERM and SIGINT stop it: running actions may end within 25 s (or BB_WORKER_GRACE_SECONDS) and are handed back then,
or upon a second signal; it unmounts, and ends with 0.`;

async function main(log: Log): Promise<number> {
  const reformat = process.argv.includes("--reformat");
  const [path, ...others] = process.argv.slice(2).filter((argument) => argument !== "--reformat");
  if (path === "--help") {
    console.log(USAGE);
    return 0;
  }
  if (path === undefined || path.startsWith("-") || others.length > 0) {
    console.error(USAGE);
    return 2;
  }
  let worker: Worker;
  const stopping = stopSignals(log);
  try {
    const settings = bbWorkerSettings(loadConfiguration(path, ApplicationConfigurationSchema));
    if (settings.umask !== undefined) {
      process.umask(settings.umask);
    }
    worker = await Worker.start(settings, mountByNfs, log, stopping.signal, { reformat });
  } catch (error) {
    if (stopping.signal.aborted && error === stopping.signal.reason) {
      log.info("stopped before it was ready", { reason: error });
      return error === "failure" ? 1 : 0;
    }
    const expected = error instanceof ConfigurationError || error instanceof MountError;
    const { message, stack } = error as Error;
    log.error(message, expected ? {} : { stack });
    return 1;
  }
  // After that, no running action can succeed.
  const lost = worker.lost.then((error): StopReason => {
    log.error("a build directory was lost; its actions are handed back, and the worker ends", { error });
    worker.handBack();
    return "failure";
  });
  const reason = await Promise.race([stopping.first, lost]);
  log.info("stopping", { reason });
  stopping.second.then(() => worker.handBack());
  await worker.stop(graceMilliseconds(log));
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

function graceMilliseconds(log: Log): number {
  const seconds = Number(process.env.BB_WORKER_GRACE_SECONDS ?? "25");
  if (Number.isFinite(seconds) && seconds >= 0) {
    return seconds * 1000;
  }
  log.warn("BB_WORKER_GRACE_SECONDS is not a number of seconds; actions are handed back at once");
  return 0;
}

process.exitCode = await main(createLog());
