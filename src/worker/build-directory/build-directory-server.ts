import { RE2JS } from "re2js";
import { waitAtMost } from "../../async/wait.ts";
import type { InputSource } from "../../cas/input-source.ts";
import type { VirtualBuildDirectorySettings } from "../../config/bb-worker/build-directory.ts";
import { MountError, WriteBackError } from "../../mount/index.ts";
import type { NfsServerStatistics } from "../../nfs/index.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { Log } from "../../telemetry/log.ts";
import { type FilePool, FileTree } from "../../vfs/index.ts";

/** Enough to tell actions apart, and short: PATH_MAX and the paths of UNIX sockets are limited. */
const NAME_DIGITS = 16;

/** How long the kernel may take to ask this process for the root's attributes. */
const REFRESH_MILLISECONDS = 30_000;

/** A tree that the kernel has mounted. */
export interface MountedTree {
  /** Resolves with the reason when no action can run in it any more. Meaningless once {@link close} is called. */
  readonly lost: Promise<Error>;
  /**
   * Brings everything written to the mount so far into the tree. Rejects with {@link WriteBackError} if all that is not
   * there is what could not be written, by whomever.
   */
  sync(): Promise<void>;
  /** Has the kernel forget which names the tree's root had, and which not, before the call. */
  refreshNames(): Promise<void>;
  /** What the server behind it did. */
  statistics(): NfsServerStatistics;
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
  readonly mountPath: string;
  /** Such as "4.2". */
  readonly nfsVersion: string;
  /** Why no action can run in it any more; undefined as long as they can. */
  problem: string | undefined;
  readonly #mounted: MountedTree;
  readonly #syncTimeout: number;
  #lastNumber = 0;
  /** {@link FileTree.refusals} that the kernel can have told of, and does not tell of again. */
  #toldRefusals = 0;

  private constructor(tree: FileTree, mounted: MountedTree, settings: VirtualBuildDirectorySettings) {
    this.tree = tree;
    this.mountPath = settings.mountPath;
    this.nfsVersion = settings.nfsVersion;
    this.#mounted = mounted;
    this.#syncTimeout = settings.maximumWritableFileUploadDelay;
    mounted.lost.then((error) => {
      this.problem = error.message;
    });
  }

  static async start(
    settings: VirtualBuildDirectorySettings,
    source: InputSource,
    pool: FilePool,
    mount: MountTree,
    log: Log,
    signal?: AbortSignal,
  ): Promise<BuildDirectoryServer> {
    const { shuffleDirectoryListings, hiddenFilesPattern, inputsReadOnly } = settings;
    const tree = new FileTree({
      source,
      pool,
      shuffleDirectoryListings,
      inputsReadOnly,
      ...(hiddenFilesPattern !== undefined && { hiddenFiles: RE2JS.compile(hiddenFilesPattern) }),
    });
    const mounted = await mount(tree, settings, log, signal);
    return new BuildDirectoryServer(tree, mounted, settings);
  }

  /** See {@link MountedTree.lost}. */
  get lost(): Promise<Error> {
    return this.#mounted.lost;
  }

  statistics(): NfsServerStatistics {
    return this.#mounted.statistics();
  }

  /**
   * A free name for an action's directory, as Buildbarn's: the first digits of the action's digest, for the same action
   * shall see the same paths wherever and whenever it runs; without a digest, or while another action has that name, a
   * number that is never used again.
   */
  nameFor(action: Digest | undefined): string {
    const name = action?.hash.slice(0, NAME_DIGITS);
    return name === undefined || this.tree.root.has(name) ? String(++this.#lastNumber) : name;
  }

  /**
   * Waits until whoever looks for that name in the mount finds what the tree has: the kernel remembers a name that was
   * used before, or looked for before there was such a directory. Most names are neither. Rejects with MountError,
   * ETIMEDOUT if it takes longer than {@link REFRESH_MILLISECONDS}.
   */
  async untilVisible(name: string): Promise<void> {
    const names = this.tree.root.rememberedNames;
    if (!names.mayHave(name)) {
      return;
    }
    const forgotten = names.beginForgetting();
    if (!(await waitAtMost(this.#mounted.refreshNames(), REFRESH_MILLISECONDS))) {
      const message = `the kernel has not asked for the mount's root in ${REFRESH_MILLISECONDS / 1000} s`;
      throw new MountError(message, "ETIMEDOUT");
    }
    forgotten();
  }

  /**
   * Resolves when everything written so far is in the tree, or was refused there. Rejects if it takes longer than
   * `maximumWritableFileUploadDelay`, or if something was lost on the way.
   */
  async sync(): Promise<void> {
    const told = this.#toldRefusals;
    const refused = this.tree.refusals;
    try {
      if (!(await waitAtMost(this.#mounted.sync(), this.#syncTimeout))) {
        throw new Error(`the kernel has not written everything back in ${this.#syncTimeout / 1000} s`);
      }
      this.#toldRefusals = Math.max(this.#toldRefusals, refused);
    } catch (error) {
      // The kernel tells one caller for all. Whose it was, the tree has reported.
      if (!(error instanceof WriteBackError) || this.tree.refusals === told) {
        throw error;
      }
      this.#toldRefusals = Math.max(this.#toldRefusals, refused);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#mounted.close();
  }
}
