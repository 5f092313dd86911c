import { unlessAborted } from "../../async/wait.ts";
import type { InputDirectory, InputFile, InputSource } from "../../cas/input-source.ts";
import { failure, type StatusError } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";

/** Longer paths cannot be given to a system call (PATH_MAX, less its NUL). */
const MAXIMUM_PATH_BYTES = 4095;
/** Directories that are asked for together. */
const BATCH_COUNT = 1000;

/**
 * The directories of an input root, each fetched once however often it occurs: what has to be made of it is known before
 * anything is made.
 */
export class InputTree {
  readonly root: Digest;
  readonly #directories: ReadonlyMap<string, InputDirectory>;

  private constructor(root: Digest, directories: ReadonlyMap<string, InputDirectory>) {
    this.root = root;
    this.#directories = directories;
  }

  /**
   * Fetches it level by level, so that a level takes as many round trips as it has batches. `onFiles` is called with the
   * files of each directory as it comes.
   *
   * Rejects with BlobError, and with StatusError INVALID_ARGUMENT if the tree has more than `maximumEntries` names, or
   * a path of more than 4095 bytes.
   */
  static async fetch(
    root: Digest,
    source: Pick<InputSource, "directory">,
    maximumEntries: number,
    signal: AbortSignal,
    onFiles: (files: readonly InputFile[]) => void,
  ): Promise<InputTree> {
    const directories = new Map<string, InputDirectory>();
    const asked = new Set([digestKey(root)]);
    let level = [root];
    while (level.length > 0) {
      const next: Digest[] = [];
      for (let start = 0; start < level.length; start += BATCH_COUNT) {
        const batch = level.slice(start, start + BATCH_COUNT);
        const found = await unlessAborted(
          Promise.all(batch.map(async (digest) => source.directory(digest))),
          signal,
        );
        for (const [index, directory] of found.entries()) {
          directories.set(digestKey(batch[index]!), directory);
          onFiles(directory.files);
          for (const { digest } of directory.directories) {
            const key = digestKey(digest);
            if (!asked.has(key)) {
              asked.add(key);
              next.push(digest);
            }
          }
        }
      }
      level = next;
    }
    const tree = new InputTree(root, directories);
    tree.#check(maximumEntries);
    return tree;
  }

  directory(digest: Digest): InputDirectory {
    return this.#directories.get(digestKey(digest))!;
  }

  /** A few directories that contain each other can stand for more names than any disk has room for. */
  #check(maximumEntries: number): void {
    const measured = new Map<InputDirectory, Measure>();
    const measure = (directory: InputDirectory, above: number): Measure => {
      const known = measured.get(directory);
      if (known !== undefined) {
        return known;
      }
      // Before it is known how long the path is all in all, which also bounds this recursion.
      if (above > MAXIMUM_PATH_BYTES) {
        throw tooDeep();
      }
      const { files, directories, symlinks } = directory;
      let entries = files.length + directories.length + symlinks.length;
      let pathBytes = 0;
      for (const { name } of [...files, ...symlinks]) {
        pathBytes = Math.max(pathBytes, name.length);
      }
      for (const { name, digest } of directories) {
        const child = measure(this.directory(digest), above + name.length + 1);
        entries += child.entries;
        pathBytes = Math.max(pathBytes, name.length + (child.pathBytes && child.pathBytes + 1));
      }
      const found = { entries, pathBytes };
      measured.set(directory, found);
      return found;
    };
    const { entries, pathBytes } = measure(this.directory(this.root), 0);
    if (pathBytes > MAXIMUM_PATH_BYTES) {
      throw tooDeep();
    }
    if (entries > maximumEntries) {
      throw failure(
        Code.INVALID_ARGUMENT,
        `the input root has more than the ${maximumEntries} files, directories and links that can be made on a local disk`,
      );
    }
  }
}

interface Measure {
  /** Names below the directory. */
  readonly entries: number;
  /** Of the longest path from the directory. */
  readonly pathBytes: number;
}

function tooDeep(): StatusError {
  return failure(
    Code.INVALID_ARGUMENT,
    `the input root is too deep: it has a path of more than ${MAXIMUM_PATH_BYTES} bytes`,
  );
}
