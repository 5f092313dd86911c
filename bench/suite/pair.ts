import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { shareMounts } from "../../src/mount/index.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import type { ExecutionClient, Outcome } from "../demo/execution-client.ts";
import { mountOperations, type OperationCounts, operationsSince } from "../demo/mount-operations.ts";
import { processCpuSeconds, processMemoryMebibytes } from "../process-usage.ts";
import type { Cost, Side } from "./side.ts";
import {
  buildPath,
  cachePaths,
  runnerConfiguration,
  runnerSocket,
  type SidePlaces,
  workerConfiguration,
} from "./side-configuration.ts";
import type { SideDefinition } from "./sides.ts";

const STOP_MILLISECONDS = 30_000;

/** How many lines of a program's output an error has at most. */
const ERROR_LINES = 15;

/** A worker and a runner that take the actions meant for them. */
export class Pair implements Side {
  readonly definition: SideDefinition;
  readonly #places: SidePlaces;
  readonly #client: ExecutionClient;
  readonly #actionSeconds: number;
  #runner: ChildProcess | undefined;
  #worker: ChildProcess | undefined;
  /** Aborted when one of the programs has ended, or does not answer. */
  #gone = new AbortController();
  /** Whether the folder is a mount of its own, which propagates to the runner. */
  #isShared = false;

  /** `client` is one whose actions ask for this side. One that takes longer than `actionSeconds` has failed. */
  constructor(
    definition: SideDefinition,
    places: SidePlaces,
    client: ExecutionClient,
    actionSeconds: number,
  ) {
    this.#actionSeconds = actionSeconds;
    this.definition = definition;
    this.#places = places;
    this.#client = client;
  }

  get name(): string {
    return this.definition.name;
  }

  get title(): string {
    return this.definition.title;
  }

  get kind(): "lazy" | "hard links" {
    return this.definition.buildDirectory === "hard-links" ? "hard links" : "lazy";
  }

  get prefetches(): boolean {
    return this.definition.prefetching === true;
  }

  async restart(caches: "cold" | "kept", firstRoot: Digest): Promise<number> {
    await this.stop();
    const { folder } = this.#places;
    for (const path of [buildPath(folder), ...(caches === "cold" ? cachePaths(folder) : [])]) {
      rmSync(path, { recursive: true, force: true });
    }
    for (const path of [buildPath(folder), join(folder, "store"), join(folder, "links")]) {
      mkdirSync(path, { recursive: true });
    }
    await shareMounts(folder);
    this.#isShared = true;
    rmSync(runnerSocket(folder), { force: true });
    this.#gone = new AbortController();
    this.#runner = this.#start("runner", runnerConfiguration(folder));
    while (!existsSync(runnerSocket(folder))) {
      this.#gone.signal.throwIfAborted();
      await pause(20);
    }
    const started = performance.now();
    this.#worker = this.#start("worker", workerConfiguration(this.definition, this.#places));
    await this.#untilReady(firstRoot);
    return (performance.now() - started) / 1000;
  }

  async run(script: string, inputRoot: Digest, outputPaths: readonly string[] = []): Promise<Cost> {
    const pid = this.#workerPid();
    const cpuBefore = processCpuSeconds(pid);
    const mountPath = this.definition.buildDirectory === "nfsv4" ? buildPath(this.#places.folder) : undefined;
    const before = mountPath === undefined ? undefined : mountOperations(mountPath);
    const outcome = await this.#execute(script, inputRoot, outputPaths);
    return {
      wall: outcome.milliseconds / 1000,
      run: outcome.runMilliseconds / 1000,
      orderToRun: outcome.orderToRunMilliseconds,
      workerCpu: processCpuSeconds(pid) - cpuBefore,
      ...(before && { calls: callsSince(before, mountOperations(mountPath)) }),
      fetchedBytes: outcome.served.bytes,
    };
  }

  /** Rejects with what the programs said last if it takes too long, or one of them ends. */
  async #execute(script: string, inputRoot: Digest, outputPaths: readonly string[] = []): Promise<Outcome> {
    const gone = this.#gone;
    const late = setTimeout(() => {
      gone.abort(this.#failure(`has not ended an action after ${this.#actionSeconds} s`));
    }, this.#actionSeconds * 1000);
    try {
      return await this.#client.run(
        { arguments: ["/bin/sh", "-c", script], workingDirectory: "", outputPaths, doNotCache: true },
        inputRoot,
        gone.signal,
      );
    } finally {
      clearTimeout(late);
    }
  }

  workerMemory(): number {
    return processMemoryMebibytes(this.#workerPid());
  }

  async stop(): Promise<void> {
    await end(this.#worker);
    await end(this.#runner);
    this.#worker = undefined;
    this.#runner = undefined;
    if (this.#isShared) {
      // With what Buildbarn's worker leaves behind: its mount.
      const umount = spawn("umount", ["--lazy", "--recursive", this.#places.folder], { stdio: "inherit" });
      await once(umount, "exit");
      this.#isShared = false;
    }
  }

  #start(name: "worker" | "runner", configuration: object): ChildProcess {
    const path = join(this.#places.folder, `${name}.json`);
    writeFileSync(path, JSON.stringify(configuration, null, 2));
    const [file, ...args] = this.definition[name];
    const log = openSync(this.#logPath(name), "w");
    const child = spawn(file!, [...args, path], { stdio: ["ignore", log, log] });
    closeSync(log);
    const gone = this.#gone;
    child.once("error", (error) => gone.abort(error));
    child.once("exit", () => gone.abort(this.#failure("ended by itself")));
    return child;
  }

  /** The scheduler refuses actions for a platform of which it has not heard yet. */
  async #untilReady(firstRoot: Digest): Promise<void> {
    for (;;) {
      try {
        await this.#execute("", firstRoot);
        return;
      } catch (error) {
        if (!/No workers exist/.test(String(error))) {
          throw error;
        }
        await pause(20);
      }
    }
  }

  #workerPid(): number {
    if (this.#worker?.pid === undefined) {
      throw new Error(`${this.title} does not run`);
    }
    return this.#worker.pid;
  }

  #failure(what: string): Error {
    return new Error(`${this.title} ${what}:\n${this.#lastLines()}`);
  }

  #lastLines(): string {
    return (["runner", "worker"] as const)
      .flatMap((name) => {
        const path = this.#logPath(name);
        const lines = existsSync(path) ? readFileSync(path, "utf8").trimEnd().split("\n") : [];
        return lines.slice(-ERROR_LINES).map((line) => `  ${name}: ${line}`);
      })
      .join("\n");
  }

  #logPath(name: string): string {
    return join(this.#places.folder, `${name}.log`);
  }
}

function callsSince(before: OperationCounts, after: OperationCounts): number {
  return operationsSince(before, after).reduce((sum, [, calls]) => sum + calls, 0);
}

/** By SIGTERM, and by SIGKILL if that takes too long. */
async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || hasEnded(child)) {
    return;
  }
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MILLISECONDS);
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  await exit;
  clearTimeout(killer);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
