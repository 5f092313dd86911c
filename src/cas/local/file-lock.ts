import { getSystemErrorName } from "node:util";
import { close, DataType, load, open } from "ffi-rs";

const LIBRARY = "libc";
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
  // Without a path: what the process itself is linked with.
  open({ library: LIBRARY, path: "" });
  try {
    const { value, errnoCode } = load<DataType.I32, true>({
      library: LIBRARY,
      funcName: "flock",
      retType: DataType.I32,
      paramsType: [DataType.I32, DataType.I32],
      paramsValue: [file, LOCK_EX | LOCK_NB],
      errno: true,
    });
    if (value !== 0) {
      const code = getSystemErrorName(-errnoCode);
      throw new Error(
        code === "EAGAIN"
          ? `${path} is in use by another process; give each a file of its own`
          : `${path} cannot be locked: ${code}`,
      );
    }
  } finally {
    close(LIBRARY);
  }
}
