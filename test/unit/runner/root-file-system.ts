import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

/** A build directory for one test, removed at its end. */
export function makeBuildDirectory(test: { after(work: () => void): void }): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "bb-runner-")));
  test.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Copies programs of this machine, with the shared libraries they need, to the same paths below `root`. */
export function copyPrograms(root: string, programs: readonly string[]): void {
  for (const program of programs) {
    // ldd fails for a static program, which needs nothing.
    const listed = execFileSync("sh", ["-c", 'ldd "$1" 2>/dev/null || true', "sh", program], {
      encoding: "utf8",
    });
    const libraries = [...listed.matchAll(/(\/\S+) \(0x/g)].map((match) => match[1] ?? "");
    for (const path of [program, ...libraries]) {
      const copy = join(root, path);
      if (existsSync(copy)) {
        continue;
      }
      mkdirSync(dirname(copy), { recursive: true });
      copyFileSync(path, copy);
    }
  }
}
