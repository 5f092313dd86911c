import { accessSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { getRawAsset, isSea } from "node:sea";

/** Of what has been written out. They stay open as long as this process lives. */
const DESCRIPTORS = new Map<string, number>();

/**
 * The path, in this process and until it executes another program, of a native program that belongs to the bundle. An
 * executable has it inside, and writes it out: see {@link loadPackagedFile}.
 */
export function packagedFile(name: string): string {
  if (!isSea()) {
    return join(__dirname, name);
  }
  let descriptor = DESCRIPTORS.get(name);
  if (descriptor === undefined) {
    descriptor = loadPackagedFile(name, (path) => openSync(path, "r"));
    DESCRIPTORS.set(name, descriptor);
  }
  return `/proc/self/fd/${descriptor}`;
}

/**
 * Has a native file that belongs to the bundle opened by its path. An executable has it inside, and writes it out: to a
 * folder of its own, whose name and the file's go at once, so that nobody can put another file in its place, and nothing
 * is left behind however the process ends.
 *
 * Throws an Error that says what to do if there is no folder for it.
 */
export function loadPackagedFile<T>(name: string, load: (path: string) => T): T {
  if (!isSea()) {
    return load(join(__dirname, name));
  }
  const folder = writeOut(name);
  try {
    return load(join(folder, name));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Returns the folder. */
function writeOut(name: string): string {
  const content = new Uint8Array(getRawAsset(name) as ArrayBuffer);
  const problems: string[] = [];
  for (const parent of new Set([tmpdir(), "/dev/shm", "/run", "/var/tmp"])) {
    let folder: string | undefined;
    try {
      folder = mkdtempSync(join(parent, "bb-"));
      const path = join(folder, name);
      // Closed when this returns: a program that is open for writing is not executed.
      writeFileSync(path, content, { mode: 0o500, flag: "wx" });
      accessSync(path, constants.X_OK);
      return folder;
    } catch (error) {
      problems.push((error as Error).message);
      if (folder !== undefined) {
        rmSync(folder, { recursive: true });
      }
    }
  }
  throw new Error(
    `cannot write out ${name}, which this executable has inside: set TMPDIR to a folder that may be written to, on a ` +
      `file system that is not mounted noexec (${problems.join("; ")})`,
  );
}
