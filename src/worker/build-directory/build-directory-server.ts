import { waitAtMost } from "../../async/wait.ts";
import type { InputSource } from "../../cas/input-source.ts";
import type { VirtualBuildDirectorySettings } from "../../config/bb-worker/build-directory.ts";
import type { Log } from "../../telemetry/log.ts";
import { type FilePool, FileTree } from "../../vfs/index.ts";

/** A tree that the kernel has mounted. */
export interface MountedTree {
  /** Resolves with the reason when no action can run in it any more. Meaningless once {@link close} is called. */
  readonly lost: Promise<Error>;
  /** Brings everything written to the mount so far into the tree. */
  sync(): Promise<void>;
  /** Unmounts while the tree still answers, and frees everything. */
  close(): Promise<void>;
}

/** Has the kernel mount a tree at the settings' mount path; if the signal aborts meanwhile, throws its reason. */
export type MountTree = (
  tree: FileTree,
  settings: VirtualBuildDirectorySettings,
  log: Log,
  signal?: AbortSignal,
) => Promise<MountedTree>;

/**
 * A build directory: a mount, the server behind it, and the tree of files in it. All that it shares with others is the
 * input source and the file pool.
 */
export class BuildDirectoryServer implements AsyncDisposable {
  readonly tree: FileTree;
  readonly #mounted: MountedTree;
  readonly #syncTimeout: number;
  #lastName = 0;

  private constructor(tree: FileTree, mounted: MountedTree, syncTimeout: number) {
    this.tree = tree;
    this.#mounted = mounted;
    this.#syncTimeout = syncTimeout;
  }

  static async start(
    settings: VirtualBuildDirectorySettings,
    source: InputSource,
    pool: FilePool,
    mount: MountTree,
    log: Log,
    signal?: AbortSignal,
  ): Promise<BuildDirectoryServer> {
    const tree = new FileTree({ source, pool });
    const mounted = await mount(tree, settings, log, signal);
    return new BuildDirectoryServer(tree, mounted, settings.maximumWritableFileUploadDelay);
  }

  /** See {@link MountedTree.lost}. */
  get lost(): Promise<Error> {
    return this.#mounted.lost;
  }

  /** A name for an action's directory; none is ever reused, as kernels remember names for long. */
  nextName(): string {
    return (++this.#lastName).toString(36);
  }

  /** Rejects if it takes longer than `maximumWritableFileUploadDelay`. */
  async sync(): Promise<void> {
    if (!(await waitAtMost(this.#mounted.sync(), this.#syncTimeout))) {
      throw new Error(`the kernel has not written everything back in ${this.#syncTimeout / 1000} s`);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#mounted.close();
  }
}
