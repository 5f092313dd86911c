import { type FileHandle, opendir } from "node:fs/promises";
import { failure } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { askFilesHelper } from "./files-helper.ts";

/** Enough for some millions of files; a disk that does not answer is given up then. */
const MAXIMUM_MILLISECONDS = 300_000;

/**
 * Removes what actions leave in a directory, whatever it is. All of it goes when an action comes and none is there, and
 * when the last one has gone, as Buildbarn's worker does it: what is in no action's own directory is nobody's then.
 */
export class DirectoryCleaner {
  /** Without a symlink in it. */
  readonly #path: string;
  readonly #handle: FileHandle;
  #users = 0;
  #cleaning: Promise<void> | undefined;

  constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  /** To be followed by {@link release}, unless it rejects: with a StatusError, INTERNAL. */
  async acquire(): Promise<void> {
    while (this.#cleaning !== undefined) {
      await this.#cleaning.catch(() => {});
    }
    if (this.#users > 0) {
      this.#users++;
      return;
    }
    await this.#clean(1);
  }

  /**
   * Removes the directory `name`, if one was made. Rejects with a StatusError, INTERNAL; it counts as released all the
   * same.
   */
  async release(name: string | undefined): Promise<void> {
    try {
      if (name !== undefined) {
        await remove(`${this.#path}/${name}`, ["remove", this.#path, name]);
      }
    } finally {
      if (--this.#users === 0) {
        await this.#clean(0);
      }
    }
  }

  /** Empties the directory `path` in it. */
  empty(path: string): Promise<void> {
    return remove(`${this.#path}/${path}`, ["empty", `${this.#path}/${path}`]);
  }

  /** Those who wait for it find `usersThen`. */
  #clean(usersThen: number): Promise<void> {
    this.#cleaning = this.#cleanNow().then(
      () => {
        this.#cleaning = undefined;
        this.#users = usersThen;
      },
      (error) => {
        this.#cleaning = undefined;
        throw error;
      },
    );
    return this.#cleaning;
  }

  async #cleanNow(): Promise<void> {
    await using entries = await opendir(`/proc/self/fd/${this.#handle.fd}`);
    if ((await entries.read()) !== null) {
      await remove(this.#path, ["empty", this.#path]);
    }
  }
}

async function remove(what: string, request: readonly string[]): Promise<void> {
  const patience = AbortSignal.timeout(MAXIMUM_MILLISECONDS);
  try {
    await askFilesHelper(request, patience);
  } catch (error) {
    const reason = patience.aborted
      ? `not done within ${MAXIMUM_MILLISECONDS / 1000} s`
      : (error as Error).message;
    throw failure(Code.INTERNAL, `cannot clean ${what}: ${reason}`, { cause: error });
  }
}

/** Empties a directory before the first use. Rejects with an Error that names what is left. */
export async function emptyAtStart(path: string): Promise<void> {
  await remove(path, ["empty", path]);
}
