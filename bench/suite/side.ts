import type { Digest } from "../../src/reapi/digest.ts";

/** What one action cost. What a side does not have is absent. */
export interface Cost {
  /** From the client's call to the end of the operation. Seconds. */
  readonly wall: number;
  /** Of the command. Seconds. */
  readonly run: number;
  /** From the scheduler's order to the runner's call. Milliseconds. */
  readonly orderToRun?: number;
  /** Of the worker's process, all threads. Seconds. */
  readonly workerCpu?: number;
  /** Of the kernel's NFS client. */
  readonly calls?: number;
  /** Of blobs, as the storage counts them. */
  readonly fetchedBytes?: number;
}

/** What runs commands chrooted into input roots: a worker with its runner, or this machine alone. */
export interface Side {
  readonly name: string;
  readonly title: string;
  /** How commands get their files. Locally they have them, without a worker. */
  readonly kind: "lazy" | "hard links" | "local";
  /** Whether it fetches what such actions have read before. */
  readonly prefetches: boolean;
  /**
   * Starts it anew with empty caches, or with what it kept. Resolves to the seconds until it has run a first action.
   * Rejects if it does not come up.
   */
  restart(caches: "cold" | "kept", firstRoot: Digest): Promise<number>;
  /** Runs a shell script as an action that nothing has in a cache. Rejects if it fails. */
  run(script: string, inputRoot: Digest, outputPaths?: readonly string[]): Promise<Cost>;
  /** In MiB. undefined: there is no worker. */
  workerMemory(): number | undefined;
  stop(): Promise<void>;
}
