/**
 * Program: runs bb_worker and its bb_runners where the kernel can mount NFS, and ends them, the worker first, when
 * the connection to the process that started it is gone. Its argument is a file with {@link WorkerHostSettings}.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { extname, join } from "node:path";
import { createLog } from "../telemetry/log.ts";

export interface WorkerHostSettings {
  /** Configuration files. */
  readonly worker: string;
  readonly runners: readonly string[];
  /** What to connect to for as long as the cluster lives: a socket's path, or host and port. */
  readonly lifeline: { readonly path: string } | { readonly host: string; readonly port: number };
  /** The address that this machine gets at its network device, where it has to be set up. */
  readonly network?: { readonly device: string; readonly address: string };
}

/** How long the worker may take to finish or hand back its actions and to unmount. */
const workerStopMilliseconds = 45_000;
/** The runners have nothing to finish when the worker is gone. */
const runnerStopMilliseconds = 10_000;
/** A program that ends by itself sooner than this after its start is not started again. */
const crashMilliseconds = 2000;

const log = createLog();

async function main(): Promise<number> {
  const settings = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as WorkerHostSettings;
  if (settings.network) setUpNetwork(settings.network);
  const lifeline = connect(settings.lifeline);
  await once(lifeline, "connect");
  lifeline.resume().on("error", () => {});

  const runners = settings.runners.map((path) => new Program("runner", path));
  const worker = new Program("worker", settings.worker);
  const stop = new Promise<void>((resolve) => {
    lifeline.once("close", () => resolve());
    process.once("SIGTERM", () => resolve());
    process.once("SIGINT", () => resolve());
  });
  const crash = Promise.race([worker, ...runners].map((program) => program.crashed));
  const crashed = await Promise.race([stop.then(() => false), crash.then(() => true)]);

  await worker.stop(workerStopMilliseconds);
  await Promise.all(runners.map((runner) => runner.stop(runnerStopMilliseconds)));
  lifeline.destroy();
  return crashed ? 1 : 0;
}

function setUpNetwork({ device, address }: { device: string; address: string }): void {
  for (const command of [
    ["link", "set", device, "up"],
    ["address", "add", address, "dev", device],
  ]) {
    const { status, stderr } = spawnSync("ip", command, { encoding: "utf8" });
    if (status !== 0) throw new Error(`ip ${command.join(" ")}: ${stderr}`);
  }
}

/** bb_worker or a bb_runner, started again when it ends without having been told to. */
class Program {
  readonly #name: "worker" | "runner";
  readonly #configuration: string;
  readonly #crashed = Promise.withResolvers<void>();
  #child: ChildProcess;
  #stopping = false;

  constructor(name: "worker" | "runner", configuration: string) {
    this.#name = name;
    this.#configuration = configuration;
    this.#child = this.#start();
  }

  /** Resolves when it ended so soon after its start that there is no point in starting it again. */
  get crashed(): Promise<void> {
    return this.#crashed.promise;
  }

  async stop(milliseconds: number): Promise<void> {
    this.#stopping = true;
    if (hasEnded(this.#child)) return;
    const timer = setTimeout(() => {
      log.warn(`the ${this.#name} did not stop in time and is killed`, { milliseconds });
      this.#child.kill("SIGKILL");
    }, milliseconds);
    this.#child.kill("SIGTERM");
    await once(this.#child, "exit");
    clearTimeout(timer);
  }

  #start(): ChildProcess {
    const started = performance.now();
    const entry = join(import.meta.dirname, "..", this.#name, `main${extname(import.meta.filename)}`);
    // It is not to outlive this process, however that ends.
    const command = ["--pdeathsig", "TERM", process.execPath, entry, this.#configuration];
    const child = spawn("setpriv", command, { stdio: ["ignore", "inherit", "inherit"] });
    child.once("exit", (code, signal) => {
      if (this.#stopping) return;
      log.error(`the ${this.#name} ended by itself`, { code, signal, configuration: this.#configuration });
      if (performance.now() - started < crashMilliseconds) this.#crashed.resolve();
      else this.#child = this.#start();
    });
    return child;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

process.exitCode = await main();
