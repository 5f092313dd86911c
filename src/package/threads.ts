import { getAsset, isSea } from "node:sea";
import { Worker as Thread, type WorkerOptions } from "node:worker_threads";

export * from "node:worker_threads";

/** In the bundles what piscina starts its threads by: they begin as the program does, and go on with their own bundle. */
export class Worker extends Thread {
  constructor(_file: string, options: WorkerOptions) {
    if (isSea()) {
      super(getAsset("start.js", "utf8"), { ...options, eval: true });
    } else {
      super(require.main!.filename, options);
    }
  }
}
