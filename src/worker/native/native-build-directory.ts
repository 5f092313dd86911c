import { type FileHandle, mkdir, realpath } from "node:fs/promises";
import { resolve } from "node:path";
import { Semaphore } from "../../async/semaphore.ts";
import type { StorageClient } from "../../cas/storage-client.ts";
import type { NativeBuildDirectorySettings } from "../../config/bb-worker/build-directory.ts";
import { ConfigurationError } from "../../config/error.ts";
import { failure } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../reapi/digest.ts";
import type {
  ActionDirectory,
  ActionDirectoryOptions,
  InputRootOptions,
} from "../action/action-directory.ts";
import type { ActionFolder } from "../action/action-files.ts";
import { DirectoryCleaner, emptyAtStart } from "./directory-cleaner.ts";
import { checkLinkable, FileCache } from "./file-cache.ts";
import { placeInputRoot } from "./input-root.ts";
import { NativeDirectory } from "./native-files.ts";
import { OpenDirectories, type OpenLimits, openDirectory, pathIn } from "./open-directories.ts";

/** Steps in directories that are under way at a time. */
const CONCURRENT_STEPS = 64;
/** Outputs that are open while they are uploaded. */
const CONCURRENT_UPLOADS = 100;
/** Of an action's hash, in the name of its directory: enough to tell actions apart, and short. */
const NAME_CHARACTERS = 16;

const OWN_MODE = { mode: 0o777 };
/** Files belong to whoever makes them, which is this process. */
const NOBODY_ELSE = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

/**
 * A build directory on a local disk. Each action's input root is made in full before its command runs, of hard links to
 * files in a cache.
 */
export class NativeBuildDirectory implements AsyncDisposable {
  /** Absolute. */
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #cleaner: DirectoryCleaner;
  readonly #source: StorageClient;
  readonly cache: FileCache;
  readonly #limits: OpenLimits = {
    steps: new Semaphore(CONCURRENT_STEPS),
    files: new Semaphore(CONCURRENT_UPLOADS),
  };
  #nextNumber = 1;

  private constructor(path: string, handle: FileHandle, source: StorageClient, cache: FileCache) {
    this.path = path;
    this.#handle = handle;
    this.#cleaner = new DirectoryCleaner(path, handle);
    this.#source = source;
    this.cache = cache;
  }

  /**
   * Empties the cache's directory. Rejects with ConfigurationError if one of the directories is missing or cannot be
   * used.
   *
   * @param downloads One for the process.
   */
  static async open(
    settings: NativeBuildDirectorySettings,
    source: StorageClient,
    downloads: Semaphore,
  ): Promise<NativeBuildDirectory> {
    const path = await directoryAt(settings.buildDirectoryPath, "buildDirectoryPath");
    const cachePath = await directoryAt(settings.cacheDirectoryPath, "cacheDirectoryPath");
    if (isWithin(path, cachePath) || isWithin(cachePath, path)) {
      throw new ConfigurationError(
        `${path} and ${cachePath} lie in each other: give build directory and cache one each`,
      );
    }
    await emptyAtStart(cachePath);
    await checkLinkable(cachePath, path);
    const cache = new FileCache({
      path: cachePath,
      maximumFileCount: settings.maximumCacheFileCount,
      maximumSizeBytes: settings.maximumCacheSizeBytes,
      policy: settings.cacheReplacementPolicy,
      content: source,
      downloads,
    });
    return new NativeBuildDirectory(path, await openDirectory(path), source, cache);
  }

  /** Makes a directory for an action: see CreateActionDirectory. */
  async createActionDirectory({ actionDigest }: ActionDirectoryOptions = {}): Promise<ActionDirectory> {
    await this.#cleaner.acquire();
    try {
      const name = await this.#makeDirectory(actionDigest);
      return new NativeActionDirectory(name, {
        buildPath: this.path,
        build: this.#handle,
        cleaner: this.#cleaner,
        source: this.#source,
        cache: this.cache,
        limits: this.#limits,
      });
    } catch (error) {
      await this.#cleaner.release(undefined);
      throw failure(Code.INTERNAL, `cannot make a directory in ${this.path}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  /**
   * The same action has the same directory each time, as compilers write the path to it into their outputs; where that
   * is taken, or the action may run several times at once, a number is the name.
   */
  async #makeDirectory(action: Digest | undefined): Promise<string> {
    let name = action?.hash.slice(0, NAME_CHARACTERS) ?? `${this.#nextNumber++}`;
    for (;;) {
      try {
        await mkdir(pathIn(this.#handle, name), OWN_MODE);
        return name;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") {
          throw error;
        }
        name = `${this.#nextNumber++}`;
      }
    }
  }
}

interface NativeActionContext {
  readonly buildPath: string;
  readonly build: FileHandle;
  readonly cleaner: DirectoryCleaner;
  readonly source: StorageClient;
  readonly cache: FileCache;
  readonly limits: OpenLimits;
}

class NativeActionDirectory implements ActionDirectory {
  readonly path: string;
  readonly usage = undefined;
  readonly directory: ActionFolder;
  readonly #context: NativeActionContext;
  readonly #open: OpenDirectories;
  readonly #ended = new AbortController();
  readonly #work = new Set<Promise<unknown>>();

  constructor(name: string, context: NativeActionContext) {
    this.path = name;
    this.#context = context;
    this.#open = new OpenDirectories(context.limits);
    this.directory = new NativeDirectory({ open: this.#open, listed: 0 }, "", () =>
      openDirectory(pathIn(context.build, name)),
    );
  }

  inputUsage(): undefined {}

  makeDirectory(name: string): Promise<ActionFolder> {
    return this.#during(async () => this.directory.createDirectory(name, NOBODY_ELSE, OWN_MODE));
  }

  attachInputRoot(name: string, digest: Digest, { signal }: InputRootOptions): Promise<ActionFolder> {
    return this.#during(async () => {
      const { buildPath, source, cache, cleaner } = this.#context;
      const root = await this.directory.createDirectory(name, NOBODY_ELSE, OWN_MODE);
      const path = `${this.path}/${name}`;
      await placeInputRoot(
        digest,
        { buildPath, path },
        source,
        cache,
        AbortSignal.any([signal, this.#ended.signal]),
        () => cleaner.empty(path),
      );
      return root;
    });
  }

  /** Everybody sees at once what is made on a local disk. */
  async untilVisible(): Promise<void> {}

  /** The same holds for what is written there. */
  async sync(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    // Nothing must be made after it is removed.
    await Promise.allSettled(this.#work);
    await this.#open[Symbol.asyncDispose]();
    await this.#context.cleaner.release(this.path);
  }

  /** Takes note of work that may go on when nobody waits for it any more. */
  #during<T>(work: () => Promise<T>): Promise<T> {
    const done = work().finally(() => this.#work.delete(done));
    this.#work.add(done);
    return done;
  }
}

/** The directory that a path leads to. */
async function directoryAt(path: string, field: string): Promise<string> {
  try {
    const found = await realpath(resolve(path));
    await (await openDirectory(found)).close();
    return found;
  } catch (error) {
    const reason = (error as Error).message;
    throw new ConfigurationError(`${field} ${path} is not a directory that can be used: ${reason}`);
  }
}

function isWithin(path: string, other: string): boolean {
  return path === other || path.startsWith(`${other}/`);
}
