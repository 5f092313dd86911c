import type { InputDirectory, InputFile, InputSource } from "../../cas/input-source.ts";
import { failure } from "../../grpc/status.ts";
import { encodeMessage } from "../../native/message.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../reapi/digest.ts";
import { normalTarget, toName } from "../../vfs/index.ts";
import { cacheKey, type FileCache, type PinnedFiles } from "./file-cache.ts";
import { FilesHelper, FilesHelperError } from "./files-helper.ts";
import { InputTree } from "./input-tree.ts";

export interface InputRootPlace {
  /** Absolute. */
  readonly buildPath: string;
  /** Of the input root, which is empty; relative to that. */
  readonly path: string;
}

/** More than any operating system's root has. */
const MAXIMUM_ENTRIES = 4_000_000;
/** What is told to the helper at a time. */
const MESSAGE_STRINGS = 4096;
/** How often files are fetched anew that somebody keeps changing. */
const MAXIMUM_ATTEMPTS = 5;

/**
 * Makes an input root on the disk, its files being hard links to those of the cache.
 *
 * `clear` is called to empty the input root when it has to be begun anew: a file of the cache turned out not to be what
 * it should be. Rejects with BlobError, StatusError, and the signal's reason.
 */
export async function placeInputRoot(
  root: Digest,
  place: InputRootPlace,
  source: Pick<InputSource, "directory">,
  cache: FileCache,
  signal: AbortSignal,
  clear: () => Promise<void>,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const pinned: PinnedFiles = new Map();
    try {
      const tree = await fetchAll(root, source, cache, pinned, signal);
      const staleKey = await placeTree(tree, place, cache.path, signal);
      if (staleKey === undefined) {
        return;
      }
      await cache.drop(staleKey);
      if (attempt === MAXIMUM_ATTEMPTS) {
        throw failure(
          Code.INTERNAL,
          `somebody keeps changing ${staleKey} in ${cache.path}: let commands run as another user than the worker's`,
        );
      }
    } finally {
      await cache.unpin(pinned);
    }
    await clear();
  }
}

/** Fetches all directories, and has all their files pinned in the cache. */
async function fetchAll(
  root: Digest,
  source: Pick<InputSource, "directory">,
  cache: FileCache,
  pinned: PinnedFiles,
  signal: AbortSignal,
): Promise<InputTree> {
  const stop = new AbortController();
  const any = AbortSignal.any([signal, stop.signal]);
  const pinning: Promise<void>[] = [];
  const failed = Promise.withResolvers<never>();
  failed.promise.catch(() => {});
  const abort = (error: unknown) => {
    failed.reject(error);
    stop.abort(error);
  };
  let waiting: InputFile[] = [];
  const pin = () => {
    const files = waiting;
    waiting = [];
    const done = cache.pin(files, pinned, any);
    done.catch(abort);
    pinning.push(done);
  };
  try {
    const tree = await InputTree.fetch(root, source, MAXIMUM_ENTRIES, any, (files) => {
      waiting = waiting.length === 0 ? [...files] : waiting.concat(files);
      if (waiting.length >= MESSAGE_STRINGS) {
        pin();
      }
    });
    pin();
    await Promise.race([Promise.all(pinning), failed.promise]);
    return tree;
  } catch (error) {
    abort(error);
    throw error;
  } finally {
    // What is pinned from now on, nobody would unpin.
    await Promise.allSettled(pinning);
  }
}

/** Returns the key of a file that is not what it should be; undefined if all is well. */
async function placeTree(
  tree: InputTree,
  { buildPath, path }: InputRootPlace,
  cachePath: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  const helper = new FilesHelper(["place", toName(cachePath), toName(buildPath), path], signal, "latin1");
  for (const message of placementMessages(tree)) {
    if (!(await helper.write(message))) {
      break;
    }
  }
  try {
    const [verb, key] = await helper.reply;
    return verb === "stale" ? key : undefined;
  } catch (error) {
    if (error instanceof FilesHelperError) {
      const full = error.code === "ENOSPC" || error.code === "EDQUOT";
      throw failure(
        full ? Code.UNAVAILABLE : Code.INTERNAL,
        full
          ? `the disk of ${buildPath} is full`
          : `cannot make the input root in ${buildPath}: ${error.message}`,
        { cause: error },
      );
    }
    throw error;
  }
}

interface Visit {
  readonly directory: InputDirectory;
  next: number;
}

/** What `native/bb_files.c` has to be told to make the tree, in messages. */
function* placementMessages(tree: InputTree): Generator<Buffer> {
  let strings: (string | number)[] = [];
  const visits: Visit[] = [];
  const enter = (digest: Digest) => {
    const directory = tree.directory(digest);
    for (const file of directory.files) {
      strings.push(file.isExecutable ? "program" : "file", cacheKey(file), file.digest.sizeBytes, file.name);
    }
    for (const { name, target } of directory.symlinks) {
      strings.push("symlink", normalTarget(target), name);
    }
    visits.push({ directory, next: 0 });
  };
  enter(tree.root);
  for (let visit = visits.at(-1); visit !== undefined; visit = visits.at(-1)) {
    const subdirectory = visit.directory.directories[visit.next++];
    if (subdirectory !== undefined) {
      strings.push("directory", subdirectory.name);
      enter(subdirectory.digest);
    } else {
      visits.pop();
      if (visits.length > 0) {
        strings.push("up");
      }
    }
    if (strings.length >= MESSAGE_STRINGS) {
      yield encodeMessage(strings, "latin1");
      strings = [];
    }
  }
  yield encodeMessage([...strings, "end"], "latin1");
}
