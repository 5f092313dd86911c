import { execFile } from "node:child_process";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";

const retryMilliseconds = 20;
const giveUpMilliseconds = 10_000;

/**
 * umount(8). A volume is in use until the supervisor of the mount in it has ended, shortly after that mount is gone;
 * nothing else tells of that end, as its parent may be dead.
 */
export async function unmountVolume(volume: string, ...options: string[]): Promise<void> {
  const deadline = performance.now() + giveUpMilliseconds;
  for (;;) {
    try {
      await promisify(execFile)("umount", [...options, volume]);
      return;
    } catch (error) {
      const isBusy = /target is busy/.test(String(error));
      if (!isBusy || performance.now() > deadline) {
        throw error;
      }
    }
    await setTimeout(retryMilliseconds);
  }
}
