import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { placeByHardLinks } from "../demo/hardlinked-root.ts";
import { runChrooted } from "../run-chrooted.ts";
import type { Cost, Side } from "./side.ts";

const run = promisify(execFile);

/**
 * The limit: commands in a directory of this machine's memory (tmpfs, an overlay for what each writes), into which all
 * files were put before, at no cost.
 */
export class LocalDirectory implements Side {
  readonly name = "local";
  readonly title = "tmpfs";
  readonly kind = "local";
  readonly prefetches = false;
  readonly #storage: EmbeddedStorage;
  readonly #folder: string;
  #actions = 0;

  /** `folder` has to be in memory. */
  constructor(storage: EmbeddedStorage, folder: string) {
    this.#storage = storage;
    this.#folder = folder;
  }

  async restart(): Promise<number> {
    return 0;
  }

  async run(script: string, inputRoot: Digest): Promise<Cost> {
    await mkdir(this.#folder, { recursive: true });
    const lower = join(this.#folder, inputRoot.hash);
    if (!existsSync(lower)) {
      await placeByHardLinks(this.#storage, inputRoot, join(this.#folder, "blobs"), lower, () => {});
    }
    const action = join(this.#folder, `action-${this.#actions++}`);
    const root = join(action, "root");
    for (const name of ["root", "upper", "work"]) {
      await mkdir(join(action, name), { recursive: true });
    }
    const layers = `lowerdir=${lower},upperdir=${action}/upper,workdir=${action}/work`;
    await run("mount", ["-t", "overlay", "-o", layers, "overlay", root]);
    try {
      const seconds = await runChrooted(root, script);
      return { wall: seconds, run: seconds };
    } finally {
      await run("umount", [root]);
      await rm(action, { recursive: true });
    }
  }

  workerMemory(): undefined {
    return undefined;
  }

  async stop(): Promise<void> {}
}
