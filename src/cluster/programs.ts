import { existsSync } from "node:fs";
import { extname, join } from "node:path";

/**
 * The command that begins bb_worker or bb_runner: this checkout's, or, where the environment variable BB_PROGRAMS names a
 * folder that `npm run package` has made, the bundle or the executable that is in it.
 */
export function programCommand(
  name: "worker" | "runner",
  folder: string | undefined = process.env.BB_PROGRAMS,
): readonly string[] {
  // As in the first line of the worker's main.ts; otherwise much of its memory would be garbage and free pages.
  const node = [process.execPath, ...(name === "worker" ? ["--max-semi-space-size=4"] : [])];
  if (folder === undefined) {
    return [...node, join(import.meta.dirname, "..", name, `main${extname(import.meta.filename)}`)];
  }
  const bundle = join(folder, `bb_${name}.cjs`);
  return existsSync(bundle) ? [...node, bundle] : [join(folder, `bb_${name}`)];
}
