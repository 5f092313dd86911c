import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { shareMounts } from "../../src/mount/index.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import type { ExecutionClient } from "../demo/execution-client.ts";
import { processCpuSeconds, processMemoryMebibytes } from "./process-usage.ts";
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

const START_MILLISECONDS = 180_000;
const STOP_MILLISECONDS = 30_000;

/** How many lines of a program's output an error has at most. */
const ERROR_LINES = 15;

/** A worker and a runner that take the actions meant for them. */
export class Pair implements Side {
  readonly definition: SideDefinition;
  readonly #places: SidePlaces;
  readonly #client: ExecutionClient;
  #runner: ChildProcess | undefined;
  #worker: ChildProcess | undefined;
  /** Whether the folder is a mount of its own, which propagates to the runner. */
  #isShared = false;

  /** `client` is one whose actions ask for this side. */
  constructor(definition: SideDefinition, places: SidePlaces, client: ExecutionClient) {
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

  async restart(caches: "cold" | "kept", firstRoot: Digest): Promise<number> {
    await this.stop();
    const { folder } = this.#places;
    if (caches === "cold") {
      for (const path of cachePaths(folder)) {
        rmSync(path, { recursive: true, force: true });
      }
    }
    for (const path of [buildPath(folder), join(folder, "store"), join(folder, "links")]) {
      mkdirSync(path, { recursive: true });
    }
    await shareMounts(folder);
    this.#isShared = true;
    rmSync(runnerSocket(folder), { force: true });
    this.#runner = this.#start("runner", runnerConfiguration(folder));
    while (!existsSync(runnerSocket(folder))) {
      this.#requireRunning();
      await setTimeout(20);
    }
    const started = performance.now();
    this.#worker = this.#start("worker", workerConfiguration(this.definition, this.#places));
    await this.#untilReady(firstRoot);
    return (performance.now() - started) / 1000;
  }

  async run(script: string, inputRoot: Digest, outputPaths: readonly string[] = []): Promise<Cost> {
    const pid = this.#workerPid();
    const cpuBefore = processCpuSeconds(pid);
    const callsBefore = this.#calls();
    const outcome = await this.#client.run(
      {
        arguments: ["/bin/sh", "-c", script],
        workingDirectory: "",
        outputPaths,
        doNotCache: true,
      },
      inputRoot,
    );
    return {
      wall: outcome.milliseconds / 1000,
      run: outcome.runMilliseconds / 1000,
      orderToRun: outcome.orderToRunMilliseconds,
      workerCpu: processCpuSeconds(pid) - cpuBefore,
      ...(this.definition.buildDirectory === "nfsv4" ? { calls: this.#calls() - callsBefore } : {}),
      fetchedBytes: outcome.served.bytes,
    };
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
    child.on("error", () => {});
    return child;
  }

  /** The scheduler refuses actions for a platform of which it has not heard yet. */
  async #untilReady(firstRoot: Digest): Promise<void> {
    const deadline = performance.now() + START_MILLISECONDS;
    for (;;) {
      try {
        await this.run("", firstRoot);
        return;
      } catch (error) {
        this.#requireRunning();
        if (performance.now() > deadline || !/No workers exist/.test(String(error))) {
          throw new Error(`${this.title} runs no action: ${error}\n${this.#lastLines()}`);
        }
        await setTimeout(20);
      }
    }
  }

  #workerPid(): number {
    if (this.#worker?.pid === undefined) {
      throw new Error(`${this.title} does not run`);
    }
    return this.#worker.pid;
  }

  #requireRunning(): void {
    for (const child of [this.#runner, this.#worker]) {
      if (child && (hasEnded(child) || child.pid === undefined)) {
        throw new Error(`${this.title} ended by itself:\n${this.#lastLines()}`);
      }
    }
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

  /** What the kernel's client has asked of this side's mount so far (Linux: /proc/self/mountstats). */
  #calls(): number {
    const section = readFileSync("/proc/self/mountstats", "utf8")
      .split(/^device /m)
      .find((text) => text.includes(` mounted on ${buildPath(this.#places.folder)} with fstype nfs4 `));
    const operations = section?.slice(section.indexOf("per-op statistics")) ?? "";
    return [...operations.matchAll(/^\s*[A-Z_]+: (\d+) /gm)].reduce(
      (sum, [, calls]) => sum + Number(calls),
      0,
    );
  }
}

/** By SIGTERM, and by SIGKILL if that takes too long. */
async function end(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || hasEnded(child)) {
    return;
  }
  const killer = globalThis.setTimeout(() => child.kill("SIGKILL"), STOP_MILLISECONDS);
  const exit = once(child, "exit");
  child.kill("SIGTERM");
  await exit;
  clearTimeout(killer);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}
