import type { ResourceLimit } from "../config/global/global.ts";
import { callLibc } from "../native/libc.ts";

/** Limits this process and what it starts, by setrlimit(2). Throws an Error that names a limit that cannot be had. */
export function setResourceLimits(limits: readonly ResourceLimit[]): void {
  for (const { name, resource, soft, hard } of limits) {
    // struct rlimit
    const limit = Buffer.alloc(16);
    limit.writeBigUInt64LE(soft);
    limit.writeBigUInt64LE(hard, 8);
    try {
      callLibc("setrlimit", { int: resource }, { memory: limit });
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      throw new Error(`cannot set the limit ${name}: ${code}`, { cause: error });
    }
  }
}
