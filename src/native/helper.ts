import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/**
 * The path of a helper program that `make -C native` builds.
 * Throws an Error that says how to build it if it is not there.
 */
export function helperPath(name: "bb_spawn" | "bb_mount"): string {
  const path = fileURLToPath(new URL(`../../native/bin/${name}`, import.meta.url));
  if (!existsSync(path)) {
    throw new Error(`${path} has not been built: run "make -C native"`);
  }
  return path;
}
