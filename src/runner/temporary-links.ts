import { randomBytes } from "node:crypto";
import { realpath, rename, rmdir, symlink, unlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import type { Spawner } from "./spawn/spawner.ts";

const EMPTYING_MILLISECONDS = 60_000;

/** Symlinks, such as at /tmp, that lead to the temporary directory of the action that was begun last. */
export class TemporaryLinks {
  readonly #paths: readonly string[];
  readonly #spawner: Spawner;
  /** Where a link of this process has been: what else is there now, a command has put there. */
  readonly #linked = new Set<string>();
  #last: Promise<void> = Promise.resolve();

  /** The paths are absolute. */
  constructor(paths: readonly string[], spawner: Spawner) {
    this.#paths = paths;
    this.#spawner = spawner;
  }

  /**
   * Makes all links lead to the target: one call after the other, and at no time is a path without a link. Does nothing
   * if it is not `wanted` any more when its turn has come. Removes a directory that a command has put in a link's
   * place. Rejects with an Error naming the link that cannot be made.
   */
  pointTo(target: string, wanted: () => boolean = () => true): Promise<void> {
    const pointed = this.#last.then(() => (wanted() ? this.#pointTo(target) : undefined));
    this.#last = pointed.catch(() => {});
    return pointed;
  }

  async #pointTo(target: string): Promise<void> {
    for (const path of this.#paths) {
      try {
        await this.#replace(path, target);
      } catch (error) {
        const { code, message } = error as NodeJS.ErrnoException;
        const reason =
          code === "ENOTEMPTY" || code === "EEXIST"
            ? "it is a directory with something in it: remove it, or take it out of the setting"
            : message;
        throw new Error(`symlinkTemporaryDirectories: cannot replace ${path}: ${reason}`, { cause: error });
      }
    }
  }

  async #replace(path: string, target: string): Promise<void> {
    const fresh = `${path}.${randomBytes(8).toString("hex")}`;
    await symlink(target, fresh);
    try {
      await rename(fresh, path).catch(async (error: NodeJS.ErrnoException) => {
        if (error.code !== "EISDIR") {
          throw error;
        }
        if (this.#linked.has(path)) {
          const directory = join(await realpath(dirname(path)), basename(path));
          await this.#spawner.emptyDirectory(directory, AbortSignal.timeout(EMPTYING_MILLISECONDS));
        }
        await rmdir(path);
        await rename(fresh, path);
      });
    } catch (error) {
      await unlink(fresh).catch(() => {});
      throw error;
    }
    this.#linked.add(path);
  }
}
