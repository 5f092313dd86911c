#!/usr/bin/env node
/** `npm start`: runs the whole cluster until it is stopped. */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { logVerbosity, setLogVerbosity } from "@grpc/grpc-js";
import { CHROOT_PROPERTY, defaultPools, startCluster } from "./cluster.ts";

const HELP = `Usage: npm start [-- OPTION…]

Runs a remote-execution cluster on this machine until Ctrl-C: scheduler, storage, a worker whose build directories
are loaded lazily over NFSv4, and runners. Where this machine's kernel has no NFS client, worker and runners run in
user-mode Linux. Actions run as root.

  --data DIR         where blobs and action results are kept (default: ./data)
  --storage-gib N    what blobs may take of the disk (default: 32); then those used longest ago go
  --listen ADDRESS   where clients connect (default: localhost:8980)
  --diagnostics ADDR where the worker shows what it does, such as localhost:9980, and has its metrics and profiles
  --concurrency N    how many actions run at the same time (default: ${defaultConcurrency()})
  --help             this text

Actions see this machine's files beside their inputs. Those with the platform property
${CHROOT_PROPERTY.name}=${CHROOT_PROPERTY.value} see nothing but their input root.`;

const OPTIONS = {
  data: { type: "string", default: "data" },
  "storage-gib": { type: "string", default: "32" },
  listen: { type: "string", default: "localhost:8980" },
  diagnostics: { type: "string" },
  concurrency: { type: "string", default: String(defaultConcurrency()) },
  help: { type: "boolean", default: false },
} as const;

class UsageError extends Error {}

async function main(): Promise<number> {
  const { values } = readArguments();
  if (values.help) {
    console.log(HELP);
    return 0;
  }
  const concurrency = Number(values.concurrency);
  if (!Number.isInteger(concurrency) || concurrency < 1) {
    throw new UsageError(`--concurrency ${values.concurrency}: expected a number such as 8`);
  }
  if (!/:\d+$/.test(values.listen)) {
    throw new UsageError(`--listen ${values.listen}: expected an address such as localhost:8980`);
  }
  if (values.diagnostics !== undefined && !/:\d+$/.test(values.diagnostics)) {
    throw new UsageError(`--diagnostics ${values.diagnostics}: expected an address such as localhost:9980`);
  }
  const storageGibibytes = Number(values["storage-gib"]);
  if (!(storageGibibytes > 0)) {
    throw new UsageError(`--storage-gib ${values["storage-gib"]}: expected a number such as 32`);
  }
  // Our own errors tell what goes wrong.
  setLogVerbosity(logVerbosity.NONE);
  const stopped = new Promise<string>((resolve) => {
    process.once("SIGINT", () => resolve("SIGINT"));
    process.once("SIGTERM", () => resolve("SIGTERM"));
  });

  console.log("Starting …");
  await using cluster = await startCluster({
    folder: resolve(values.data),
    listen: values.listen,
    pools: defaultPools(concurrency),
    maximumStorageBytes: storageGibibytes * 1024 ** 3,
    ...(values.diagnostics !== undefined && { diagnostics: values.diagnostics }),
  });
  console.log(`
Ready. To build with Bazel:

  bazel build --remote_executor=grpc://${cluster.address} --spawn_strategy=remote --jobs=${concurrency} //...

For actions whose input root is a whole root file system, which is to be all that they see, add

  --remote_default_exec_properties=${CHROOT_PROPERTY.name}=${CHROOT_PROPERTY.value}

Blobs and results:   ${resolve(values.data)}
Worker and runners:  ${cluster.logPath}${
    values.diagnostics === undefined ? "" : `\nWhat the worker does: http://${values.diagnostics}/`
  }
Ctrl-C stops.`);

  const reason = await Promise.race([
    stopped,
    cluster.ended.then((how) => {
      throw new Error(`worker and runners are gone (${how}); ${cluster.logPath} says why`);
    }),
  ]);
  console.log(`\n${reason}: stopping; running actions are finished or handed back …`);
  return 0;
}

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS });
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

/** At least enough that the processor is not idle while actions wait for files. */
function defaultConcurrency(): number {
  return Math.max(8, availableParallelism());
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(`npm start: ${(error as Error).message}`);
  if (error instanceof UsageError) {
    console.error("See npm start -- --help");
  }
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
