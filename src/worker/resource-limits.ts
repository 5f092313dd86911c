import { getSystemErrorName } from "node:util";
import { close, DataType, load, open } from "ffi-rs";
import type { ResourceLimit } from "../config/global.ts";

const LIBRARY = "setrlimit";

/** Limits this process and what it starts, by setrlimit(2). Throws an Error that names a limit that cannot be had. */
export function setResourceLimits(limits: readonly ResourceLimit[]): void {
  for (const { name, resource, soft, hard } of limits) {
    // struct rlimit
    const limit = Buffer.alloc(16);
    limit.writeBigUInt64LE(soft);
    limit.writeBigUInt64LE(hard, 8);
    // Without a path: what the process itself is linked with.
    open({ library: LIBRARY, path: "" });
    try {
      const { value, errnoCode } = load<DataType.I32, true>({
        library: LIBRARY,
        funcName: "setrlimit",
        retType: DataType.I32,
        paramsType: [DataType.I32, DataType.U8Array],
        paramsValue: [resource, limit],
        errno: true,
      });
      if (value !== 0) {
        throw new Error(`cannot set the limit ${name}: ${getSystemErrorName(-errnoCode)}`);
      }
    } finally {
      close(LIBRARY);
    }
  }
}
