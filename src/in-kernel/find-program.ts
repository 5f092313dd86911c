import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** The path of a program that is in PATH, or where Debian has what only administrators use. */
export function findProgram(name: string, path = process.env.PATH ?? ""): string | undefined {
  const candidates = [...path.split(delimiter), "/usr/sbin", "/sbin"].map((folder) => join(folder, name));
  return candidates.find((candidate) => {
    try {
      accessSync(candidate, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
