import { execFile } from "node:child_process";
import { lstat, readlink, realpath } from "node:fs/promises";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What the demo's actions need. */
const requiredPackages = ["gcc", "libc6-dev", "binutils", "make", "bash", "coreutils", "dash"];

/** Taken along where installed, so that the root is as large as a real one is. */
const furtherPackages = [
  "g++",
  "cmake",
  "findutils",
  "git",
  "grep",
  "gzip",
  "locales",
  "perl",
  "python3",
  "sed",
  "tar",
  "tzdata",
];

/** A place in the root: `path` is absolute and its directory holds no symbolic link. */
export type RootEntry =
  | { readonly kind: "file"; readonly path: string; readonly isExecutable: boolean }
  | { readonly kind: "directory"; readonly path: string }
  | { readonly kind: "symlink"; readonly path: string; readonly target: string };

export interface DebianRoot {
  readonly packages: readonly string[];
  readonly entries: readonly RootEntry[];
}

/**
 * The files that dpkg lists for a C compiler, a shell and the basic tools, with all that they depend on.
 * Throws where a required package is not installed.
 */
export async function collectDebianRoot(): Promise<DebianRoot> {
  const packages = await packagesWithDependencies();
  const { stdout } = await run("dpkg-query", ["--listfiles", ...packages], { maxBuffer: 1 << 30 });
  const entries = new Map<string, RootEntry>();
  const canonicalDirectories = new Map<string, string | undefined>();
  const listed = stdout.split("\n").filter((line) => line.startsWith("/") && line !== "/.");
  for (const name of [...listed, "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"]) {
    const directory = path.dirname(name);
    if (!canonicalDirectories.has(directory)) {
      canonicalDirectories.set(directory, await realpath(directory).catch(() => undefined));
    }
    const canonicalDirectory = canonicalDirectories.get(directory);
    if (canonicalDirectory === undefined) {
      continue;
    }
    const canonical = path.join(canonicalDirectory, path.basename(name));
    if (!entries.has(canonical)) {
      const entry = await describe(canonical);
      if (entry !== undefined) {
        entries.set(canonical, entry);
      }
    }
  }
  return { packages, entries: [...entries.values()] };
}

/** undefined for what is not on this machine (documentation that was left out) or has no place in REAPI. */
async function describe(name: string): Promise<RootEntry | undefined> {
  const stats = await lstat(name).catch(() => undefined);
  if (stats?.isFile()) {
    return { kind: "file", path: name, isExecutable: (stats.mode & 0o111) !== 0 };
  }
  if (stats?.isDirectory()) {
    return { kind: "directory", path: name };
  }
  return stats?.isSymbolicLink() ? { kind: "symlink", path: name, target: await readlink(name) } : undefined;
}

async function packagesWithDependencies(): Promise<string[]> {
  const { stdout } = await run(
    "dpkg-query",
    ["--show", "--showformat", "${Package}\t${Depends}, ${Pre-Depends}\t${Provides}\t${db:Status-Status}\n"],
    { maxBuffer: 1 << 28 },
  );
  const dependencies = new Map<string, string[][]>();
  const providers = new Map<string, string>();
  for (const line of stdout.split("\n")) {
    const [name, depends, provides, status] = line.split("\t");
    if (name === undefined || status !== "installed") {
      continue;
    }
    dependencies.set(name, parseRelation(depends ?? ""));
    for (const [virtualPackage] of parseRelation(provides ?? "")) {
      providers.set(virtualPackage!, name);
    }
  }
  const missing = requiredPackages.filter((name) => !dependencies.has(name));
  if (missing.length > 0) {
    throw new Error(
      `not installed: ${missing.join(", ")}; get them by: apt-get install ${missing.join(" ")}`,
    );
  }
  const found = new Set<string>();
  const queue = [...requiredPackages, ...furtherPackages.filter((name) => dependencies.has(name))];
  for (let name = queue.pop(); name !== undefined; name = queue.pop()) {
    if (found.has(name)) {
      continue;
    }
    found.add(name);
    for (const alternatives of dependencies.get(name)!) {
      const installed = alternatives
        .map((candidate) => (dependencies.has(candidate) ? candidate : providers.get(candidate)))
        .find((candidate) => candidate !== undefined);
      if (installed !== undefined) {
        queue.push(installed);
      }
    }
  }
  return [...found].sort();
}

/** "a (>= 1) | b, c:any" → [["a", "b"], ["c"]] */
function parseRelation(text: string): string[][] {
  return text
    .split(",")
    .map((group) => group.split("|").map((alternative) => alternative.trim().split(/[ :(]/)[0]!))
    .filter((group) => group[0] !== "");
}
