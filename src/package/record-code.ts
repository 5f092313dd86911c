import { renameSync, writeFileSync } from "node:fs";
import type { Script } from "node:vm";
import { BroadcastChannel, isMainThread, threadId } from "node:worker_threads";

/**
 * Has SIGUSR2 write what V8 has made of the bundle by then to `path`: all functions that have been called, too. The
 * program's threads do the same. Each says on standard error when it can, and when it has.
 */
export function recordCode(script: Script, path: string): void {
  const write = (): void => {
    const own = `${path}.${threadId}`;
    writeFileSync(own, script.createCachedData());
    renameSync(own, path);
    process.stderr.write(`recorded ${path}\n`);
  };
  const threads = new BroadcastChannel("record-code");
  if (isMainThread) {
    process.on("SIGUSR2", () => {
      write();
      threads.postMessage("");
    });
  } else {
    threads.onmessage = write;
  }
  threads.unref();
  process.stderr.write(`recording ${path}\n`);
}
