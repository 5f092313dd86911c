import { packagedFile } from "./packaged-file.ts";

/** In the bundles instead of src/native/helper.ts: the path of a helper program, for this process to execute. */
export function helperPath(name: "bb_spawn" | "bb_mount" | "bb_files"): string {
  return packagedFile(name);
}
