/**
 * Program: runs bb_worker and its bb_runners where the kernel can mount NFS. When the lifeline to the cluster
 * ends, it stops them, the worker first. If the lifeline ends without a word, the scheduler is gone, too, and the
 * worker need not finish anything. Argument: a file with {@link WorkerHostSettings}.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { setTimeout } from "node:timers/promises";
import { createLog } from "../telemetry/log.ts";
import type { WorkerHostSettings } from "./configurations.ts";
import { READY, STOP } from "./lifeline.ts";
import { programCommand } from "./programs.ts";

/** How long the worker lets its actions run on, unless the environment says otherwise; then it hands them back. */
const WORKER_GRACE_SECONDS = 25;
/** How long the worker may take to finish or hand back its actions and to unmount. */
const WORKER_STOP_MILLISECONDS = 45_000;
/** Once the worker is gone, the runners have nothing to finish. */
const RUNNER_STOP_MILLISECONDS = 10_000;
/** A program that ends by itself within this time of its start is not started again. */
const CRASH_MILLISECONDS = 2000;

const LOG = createLog();

async function main(): Promise<number> {
  const settings = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as WorkerHostSettings;
  if (settings.network) {
    setUpNetwork(settings.network);
  }
  const lifeline = connect(settings.lifeline);
  await once(lifeline, "connect");
  let isReady = false;
  let isOrderly = false;
  lifeline
    .setEncoding("utf8")
    .on("data", (words: string) => {
      isReady ||= words.includes(READY);
      isOrderly ||= words.includes(STOP);
    })
    .on("error", () => {});

  const mayRestart = () => isReady;
  const runners = settings.runners.map((path) => new Program("runner", path, mayRestart));
  const worker = new Program("worker", settings.worker, mayRestart);
  const stopped = new Promise<void>((resolve) => {
    lifeline.once("close", () => resolve());
    process.once("SIGTERM", () => {
      isOrderly = true;
      resolve();
    });
  });
  const crash = Promise.race([worker, ...runners].map((program) => program.crashed));
  const crashed = await Promise.race([stopped.then(() => false), crash.then(() => true)]);

  await worker.stop(WORKER_STOP_MILLISECONDS, isOrderly ? 1 : 2);
  await Promise.all(runners.map((runner) => runner.stop(RUNNER_STOP_MILLISECONDS)));
  lifeline.destroy();
  return crashed ? 1 : 0;
}

function setUpNetwork({ device, address }: { device: string; address: string }): void {
  for (const command of [
    ["link", "set", device, "up"],
    ["address", "add", address, "dev", device],
  ]) {
    const { status, stderr } = spawnSync("ip", command, { encoding: "utf8" });
    if (status !== 0) {
      throw new Error(`ip ${command.join(" ")}: ${stderr}`);
    }
  }
}

/** bb_worker or a bb_runner. If it ends without having been told to, it is started again. */
class Program {
  readonly #name: "worker" | "runner";
  readonly #configuration: string;
  readonly #mayRestart: () => boolean;
  readonly #crashed = Promise.withResolvers<void>();
  #child: ChildProcess;
  #stopping = false;

  constructor(name: "worker" | "runner", configuration: string, mayRestart: () => boolean) {
    this.#name = name;
    this.#configuration = configuration;
    this.#mayRestart = mayRestart;
    this.#child = this.#start();
  }

  /** Resolves when it has ended and there is no point in starting it again. */
  get crashed(): Promise<void> {
    return this.#crashed.promise;
  }

  /** Sends SIGTERM `times` times: a second one tells bb_worker to hand back at once what it runs. */
  async stop(milliseconds: number, times = 1): Promise<void> {
    this.#stopping = true;
    if (hasEnded(this.#child)) {
      return;
    }
    const timer = globalThis.setTimeout(() => {
      LOG.warn(`the ${this.#name} did not stop in time and is killed`, { milliseconds });
      this.#child.kill("SIGKILL");
    }, milliseconds);
    for (let sent = 0; sent < times; sent++) {
      // Two signals of a kind that come at the same time count as one.
      if (sent > 0) {
        await setTimeout(100);
      }
      this.#child.kill("SIGTERM");
    }
    if (!hasEnded(this.#child)) {
      await once(this.#child, "exit");
    }
    clearTimeout(timer);
  }

  #start(): ChildProcess {
    const started = performance.now();
    // It must not outlive this process, however that ends.
    const command = ["--pdeathsig", "TERM", ...programCommand(this.#name), this.#configuration];
    const child = spawn("setpriv", command, {
      stdio: ["ignore", "inherit", "inherit"],
      env: {
        BB_WORKER_GRACE_SECONDS: String(WORKER_GRACE_SECONDS),
        ...process.env,
        MALLOC_ARENA_MAX: "2",
      },
    });
    child.once("exit", (code, signal) => {
      if (this.#stopping) {
        return;
      }
      LOG.error(`the ${this.#name} ended by itself`, { code, signal, configuration: this.#configuration });
      if (this.#mayRestart() && performance.now() - started > CRASH_MILLISECONDS) {
        this.#child = this.#start();
      } else {
        this.#crashed.resolve();
      }
    });
    return child;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

process.exitCode = await main();
