import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * The path of a helper program that `make -C native` builds.
 * If it is not there, throws an Error that says how to build it.
 */
export function helperPath(name: "bb_spawn" | "bb_mount" | "bb_files"): string {
  const path = fileURLToPath(new URL(`../../native/bin/${name}`, import.meta.url));
  if (!existsSync(path)) {
    throw new Error(`${path} has not been built: run "make -C native"`);
  }
  return path;
}
