/**
 * `npm run check:house`: files and folders of src/ stay small enough to be read, and the documents name what is there.
 *
 * - A file has at most 400 lines, or a first comment that gives the reason ("Longer than 400 lines because …").
 * - A folder holds at most 15 files, or lists one operation a file.
 * - A path that a document names exists.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

const MAXIMUM_LINES = 400;
const MAXIMUM_FILES = 15;
const ONE_FILE_AN_OPERATION = "src/nfs/operations";
const REASON = /longer than 400 lines because/i;
/** What a path in a document may begin with; `PYNFS/…` and the like are the reader's own. */
const OWN_PATH = /^(?:src|native|configs|compose|bench|test|docs|examples|scripts|\.ci)\/[\w./-]*\w$/;

/** What a command of ours writes. */
const GENERATED = /^(?:docs\/api|native\/bin|dist)\b/;

const root = path.resolve(import.meta.dirname, "..");

function main(): number {
  const tracked = execFileSync("git", ["ls-files"], { cwd: root, encoding: "utf8" }).split("\n");
  const present = tracked.filter((file) => file !== "" && existsSync(path.join(root, file)));
  const ours = present.filter((file) => file.startsWith("src/") && !file.startsWith("src/proto/"));
  const problems = [
    ...ours.filter((file) => file.endsWith(".ts")).flatMap(checkLength),
    ...checkFolders(ours),
    ...present.filter((file) => file.endsWith(".md")).flatMap(checkPaths),
  ];
  for (const problem of problems) {
    console.error(problem);
  }
  return problems.length === 0 ? 0 : 1;
}

function read(file: string): string {
  return readFileSync(path.join(root, file), "utf8");
}

function checkLength(file: string): string[] {
  const text = read(file);
  const lines = text.split("\n").length - 1;
  const firstComment = /^\s*(?:#!.*\n)?\s*\/\*[\s\S]*?\*\//.exec(text)?.[0] ?? "";
  if (lines <= MAXIMUM_LINES || REASON.test(firstComment)) {
    return [];
  }
  return [`${file}: ${lines} lines; split it by subject, or say in its first comment why it is that long`];
}

function checkFolders(files: readonly string[]): string[] {
  const counts = new Map<string, number>();
  for (const file of files.filter((file) => file.endsWith(".ts"))) {
    const folder = path.dirname(file);
    counts.set(folder, (counts.get(folder) ?? 0) + 1);
  }
  return [...counts]
    .filter(([folder, count]) => count > MAXIMUM_FILES && folder !== ONE_FILE_AN_OPERATION)
    .map(
      ([folder, count]) =>
        `${folder}: ${count} files; more than ${MAXIMUM_FILES} want folders that group them`,
    );
}

function checkPaths(document: string): string[] {
  const text = read(document);
  const inCode = [...text.matchAll(/`([^`\s]+)`/g)]
    .map(([, code]) => code!)
    .filter((code) => OWN_PATH.test(code));
  const links = [...text.matchAll(/\]\(([^)#:\s]+)(?:#[^)]*)?\)/g)].map(([, link]) =>
    path.normalize(path.join(path.dirname(document), link!)),
  );
  return [...new Set([...inCode, ...links])]
    .filter((named) => !existsSync(path.join(root, named)) && !GENERATED.test(named))
    .map((named) => `${document}: there is no ${named}`);
}

process.exitCode = main();
