import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EmbeddedStorage } from "../../../src/cluster/storage/embedded-storage.ts";
import { type PlainDigest, toPlain } from "../../plain-digest.ts";
import { syntheticRoot } from "../../synthetic-root.ts";

/** Stores a synthetic root of so many files; its shell knows two commands (visitor.c). */
export async function importVisitedRoot(storage: EmbeddedStorage, files: number): Promise<PlainDigest> {
  const folder = mkdtempSync(join(tmpdir(), "visitor-"));
  try {
    const program = join(folder, "sh");
    execFileSync("cc", ["-static", "-O1", "-o", program, join(import.meta.dirname, "visitor.c")]);
    const { digest } = await storage.importInputRoot([
      ...syntheticRoot(files),
      { path: "bin/sh", type: "file", isExecutable: true, hostPath: program },
      { path: "usr/bin/env", type: "file", isExecutable: true, hostPath: program },
    ]);
    return toPlain(digest);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A script for it: reads every `step`th of all files. */
export function readEvery(step: number, files: number): string {
  return `read ${files} ${step}`;
}
