import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** Bytes in ArrayBuffers that something still refers to. */
export function arrayBuffersInUse(): number {
  collect();
  collect();
  return process.memoryUsage().arrayBuffers;
}
