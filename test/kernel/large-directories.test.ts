import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { compile, describeMounts, type Files, inKernel, run } from "./mounted-file-systems.ts";

/**
 * Removing 20,000 files takes 7 s of user-mode Linux's processor. So only vers=4.2 has the full size; the server lists
 * and removes by the same code for all versions. The directories are filled on the server's side, in this process; in
 * the worker's tree they are directories of the input root.
 */
const FULL_SIZE = { listed: 100_000, changes: 1000, removed: 20_000 };
const SMALL_SIZE = { listed: 5000, changes: 200, removed: 2500 };

describe("large directories", inKernel, () => {
  const folder = mkdtempSync(join(tmpdir(), "large-directories-"));
  let program: string;

  before(async () => {
    program = await compile(folder, "directory-changes", ["directory-changes.c"]);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  describeMounts("filled by the server", (mount) => {
    const { listed, changes, removed } = mount.version === "4.2" ? FULL_SIZE : SMALL_SIZE;

    it(`${listed} entries are listed completely while ${changes} of them change`, async () => {
      const staying = listed - changes;
      const path = await mount.directory({
        large: { ...files("stays", staying), ...files("goes", changes) },
      });
      const args = ["list", join(path, "large"), String(staying), String(changes)];
      const { status, output } = await run(program, args);
      assert.equal(output, `${changes} of ${changes} changes\n`);
      assert.equal(status, 0);
    });

    it(`${removed} files are removed while they are listed`, async () => {
      const path = await mount.directory({ large: files("file number", removed) });
      const { status, output } = await run(program, ["empty", join(path, "large")]);
      assert.equal(output, `${removed}\n`);
      assert.equal(status, 0);
    });
  });
});

function files(name: string, count: number): Files {
  return Object.fromEntries(Array.from({ length: count }, (_, index) => [`${name} ${index}`, ""]));
}
