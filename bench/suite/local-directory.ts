import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { placeByHardLinks } from "../demo/hardlinked-root.ts";
import type { Cost, Side } from "./side.ts";

const run = promisify(execFile);

/**
 * The limit: commands in a directory of this machine's memory (tmpfs, an overlay for what each writes), into which all
 * files were put before, at no cost.
 */
export class LocalDirectory implements Side {
  readonly name = "local";
  readonly title = "tmpfs";
  readonly #storage: EmbeddedStorage;
  readonly #folder: string;
  #isMounted = false;
  #actions = 0;

  constructor(storage: EmbeddedStorage, folder: string) {
    this.#storage = storage;
    this.#folder = folder;
  }

  async restart(): Promise<number> {
    return 0;
  }

  async run(script: string, inputRoot: Digest): Promise<Cost> {
    if (!this.#isMounted) {
      await mkdir(this.#folder, { recursive: true });
      await run("mount", ["-t", "tmpfs", "bench", this.#folder]);
      this.#isMounted = true;
    }
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
      const seconds = await this.#runChrooted(root, script);
      return { wall: seconds, run: seconds };
    } finally {
      await run("umount", [root]);
      await rm(action, { recursive: true });
    }
  }

  workerMemory(): undefined {
    return undefined;
  }

  async stop(): Promise<void> {
    if (this.#isMounted) {
      await run("umount", [this.#folder]);
      this.#isMounted = false;
    }
  }

  /** Resolves to the seconds that it took. */
  async #runChrooted(root: string, script: string): Promise<number> {
    const started = performance.now();
    const child = spawn("chroot", [root, "/bin/sh", "-c", script], {
      stdio: ["ignore", "ignore", "pipe"],
      env: { PATH: "/usr/bin:/bin" },
    });
    let complaint = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      complaint += text;
    });
    const [code] = await once(child, "close");
    if (code !== 0) {
      throw new Error(`exit code ${code}: ${complaint.slice(-2000)}`);
    }
    return (performance.now() - started) / 1000;
  }
}
