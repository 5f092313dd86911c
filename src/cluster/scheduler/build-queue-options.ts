/** Times in milliseconds, with defaults for a single machine. */
export interface BuildQueueOptions {
  /** An operation that no client waits for is cancelled after this. Default 10 s. */
  readonly abandonedOperationTimeout?: number;
  /** How often a client hears of an operation whose stage does not change. Default 60 s. */
  readonly executionUpdateInterval?: number;
  /** How often a busy worker has to synchronize, which bounds how late it hears of a cancellation. Default 1 s. */
  readonly busyWorkerSynchronizationInterval?: number;
  /** How long an idle worker's call is held until there is work. Default 60 s. */
  readonly idleWorkerSynchronizationInterval?: number;
  /** A worker that does not synchronize for this long is lost, and what it runs fails. Default 20 s. */
  readonly lostWorkerTimeout?: number;
  /** A platform stays known for this long after its last worker; its actions wait for one. Default 15 min. */
  readonly platformWithoutWorkersTimeout?: number;
  /** For this long after the start, a platform without workers is UNAVAILABLE, not refused. Default 60 s. */
  readonly startupGrace?: number;
  /** How often a worker may ask anew for an action that it was already given. Default 9. */
  readonly workerTaskRetryCount?: number;
  /** For actions without a timeout. Default 1 h. */
  readonly defaultExecutionTimeout?: number;
  /** Default 24 h. */
  readonly maximumExecutionTimeout?: number;
}

export const DEFAULT_OPTIONS: Required<BuildQueueOptions> = {
  abandonedOperationTimeout: 10_000,
  executionUpdateInterval: 60_000,
  busyWorkerSynchronizationInterval: 1000,
  idleWorkerSynchronizationInterval: 60_000,
  lostWorkerTimeout: 20_000,
  platformWithoutWorkersTimeout: 900_000,
  startupGrace: 60_000,
  workerTaskRetryCount: 9,
  defaultExecutionTimeout: 3_600_000,
  maximumExecutionTimeout: 86_400_000,
};
