import { callLibc } from "./libc.ts";

/** From <sys/file.h>. */
const LOCK_EX = 2;
const LOCK_NB = 4;

/**
 * Makes this process the only one that has a lock on the open file, until it closes the file or ends, however it ends
 * (flock(2)). That holds between containers, too, whose process numbers mean nothing to each other.
 *
 * Throws an Error that names `path` if another has it, or the file system knows no locks.
 */
export function lockExclusively(file: number, path: string): void {
  try {
    callLibc("flock", { int: file }, { int: LOCK_EX | LOCK_NB });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const reason =
      code === "EAGAIN"
        ? "is in use by another process; give each a file of its own"
        : `cannot be locked: ${code}`;
    throw new Error(`${path} ${reason}`, { cause: error });
  }
}
