import { close, DataType, load, open } from "ffi-rs";
import { errnoName } from "./errno.ts";

const LIBRARY = "libc";

/** An argument: an int, an unsigned long, an unsigned int, or memory that the call reads or writes. */
export type Argument =
  | { readonly int: number }
  | { readonly unsignedLong: number }
  | { readonly unsigned: number }
  | { readonly memory: Buffer };

/**
 * Makes a system call, by its function in libc, in the calling thread, which it blocks. Returns what the function does.
 * Throws an Error with a `code`, such as "EPERM", if that is negative.
 */
export function callLibc(funcName: string, ...callArguments: readonly Argument[]): number {
  const [paramsType, paramsValue] = [callArguments.map(typeOf), callArguments.map(passed)];
  // Without a path: what the process itself is linked with.
  open({ library: LIBRARY, path: "" });
  try {
    const { value, errnoCode } = load<DataType.I32, true>({
      library: LIBRARY,
      funcName,
      retType: DataType.I32,
      paramsType,
      paramsValue,
      errno: true,
    });
    if (value >= 0) {
      return value;
    }
    const code = errnoName(errnoCode);
    throw Object.assign(new Error(`${funcName}: ${code}`), { code });
  } finally {
    close(LIBRARY);
  }
}

function typeOf(argument: Argument): DataType {
  if ("int" in argument) {
    return DataType.I32;
  }
  if ("unsigned" in argument) {
    return DataType.U32;
  }
  return "memory" in argument ? DataType.U8Array : DataType.U64;
}

function passed(argument: Argument): unknown {
  return Object.values(argument)[0];
}
