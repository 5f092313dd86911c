import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { compile, describeMounts, type Files, inKernel, run, sh } from "./mounted-file-systems.ts";

const SOURCES = ["main", "names", "directories", "content", "server-side", "locks", "attributes", "as-local"];

/** More than the checks use: see place() in semantics/main.c. */
const INPUTS: Files = Object.fromEntries(Array.from({ length: 64 }, (_, index) => [index, "0123456789"]));

describe("what programs expect of a file system", inKernel, () => {
  const folder = mkdtempSync(join(tmpdir(), "semantics-"));
  let semantics: string;

  before(async () => {
    const sources = SOURCES.map((name) => `semantics/${name}.c`);
    semantics = await compile(folder, "semantics", sources);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  async function check(...args: string[]): Promise<void> {
    const { status, output, errors } = await run(semantics, args);
    const failures = output.split("\n").filter((line) => line.startsWith("not ok"));
    assert.deepEqual(failures, []);
    assert.equal(status, 0, output + errors);
  }

  it("has in tmpfs what is checked of every local file system", async () => {
    await sh(`mkdir tmpfs; mount -t tmpfs none tmpfs`, folder);
    try {
      await check(join(folder, "tmpfs"), "local");
    } finally {
      await sh("umount -l tmpfs", folder);
    }
  });

  describeMounts("semantics", (mount) => {
    it("has them for files that are made", async () => {
      await check(await mount.directory(), String(mount.minor));
    });

    if (mount.name === "the worker's tree") {
      it("has them for input files, each copied when it is changed", async () => {
        const inputs = await mount.directory({ inputs: INPUTS });
        await check(inputs, String(mount.minor), join(inputs, "inputs"));
      });
    }

    it("removes a tree whose files are open, and deeper than any path can say", async () => {
      const script = `
        mkdir -p tree/a/b tree/c; for i in 1 2 3; do echo $i > tree/a/b/$i; echo $i > tree/c/$i; done
        name=$(printf %0250d 1); mkdir -p tree$(printf "/$name%.0s" {1..20})
        exec 3<tree/a/b/1 4>>tree/c/2`;
      const path = await mount.directory();
      if (mount.minor === 0) {
        // The client keeps the names of open files, .nfs*, and so their directories, until they are closed.
        await sh(
          `${script}
          ! rm -rf tree 2>/dev/null; ls -A tree/a/b tree/c | grep -c '^[.]nfs' >count; exec 3<&- 4>&-
          test "$(cat count)" = 2; rm -rf tree; rm count`,
          path,
        );
      } else {
        assert.equal(await sh(`${script}; rm -rf tree; cat <&3; echo end >&4; ls -A | wc -l`, path), "1\n0");
      }
      assert.equal(await sh("ls -A", path), "");
    });
  });
});
