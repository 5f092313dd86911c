import assert from "node:assert/strict";
import { lstatSync, mkdirSync, readdirSync, readlinkSync, unlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { TemporaryLinks } from "../../../src/runner/temporary-links.ts";
import { makeBuildDirectory } from "./root-file-system.ts";
import { spawner } from "./spawner.ts";

describe("links of temporary directories", () => {
  it("lead to the target given last, whatever is given meanwhile", async (test) => {
    const folder = makeBuildDirectory(test);
    const paths = ["a", "b"].map((name) => join(folder, name));
    const links = new TemporaryLinks(paths, spawner);
    await links.pointTo("/first");
    await Promise.all(Array.from({ length: 50 }, (_, n) => links.pointTo(`/${n}`)));
    assert.deepEqual(
      paths.map((path) => readlinkSync(path)),
      ["/49", "/49"],
    );
    assert.deepEqual(readdirSync(folder), ["a", "b"]);
  });

  it("are there at any time", async (test) => {
    const path = join(makeBuildDirectory(test), "tmp");
    const links = new TemporaryLinks([path], spawner);
    await links.pointTo("/first");
    let pointing = true;
    const all = Promise.all(Array.from({ length: 100 }, (_, n) => links.pointTo(`/${n}`)));
    const ended = all.then(() => {
      pointing = false;
    });
    while (pointing) {
      assert.ok(lstatSync(path).isSymbolicLink());
      await new Promise(setImmediate);
    }
    await ended;
  });

  it("stay where a call is not wanted any more when its turn comes", async (test) => {
    const path = join(makeBuildDirectory(test), "tmp");
    const links = new TemporaryLinks([path], spawner);
    let running = false;
    const readiness = links.pointTo("/nonexistent", () => !running);
    const run = links.pointTo("/run");
    const late = links.pointTo("/nonexistent", () => !running);
    running = true;
    await Promise.all([readiness, run, late]);
    assert.equal(readlinkSync(path), "/run");
  });

  it("replace a file, an empty directory, and whatever a command has put in their place", async (test) => {
    const folder = makeBuildDirectory(test);
    const paths = ["file", "directory"].map((name) => join(folder, name));
    const [file = "", directory = ""] = paths;
    writeFileSync(file, "");
    mkdirSync(directory);
    const links = new TemporaryLinks(paths, spawner);
    await links.pointTo("/first");
    unlinkSync(directory);
    mkdirSync(join(directory, "a/b"), { recursive: true });
    await links.pointTo("/second");
    assert.deepEqual([readlinkSync(file), readlinkSync(directory)], ["/second", "/second"]);
  });

  it("do not replace what an operator has, and say so; later calls are none the worse", async (test) => {
    const path = join(makeBuildDirectory(test), "tmp");
    mkdirSync(path);
    writeFileSync(join(path, "kept"), "");
    const links = new TemporaryLinks([path], spawner);
    await assert.rejects(
      links.pointTo("/x"),
      /cannot replace .*\/tmp: it is a directory with something in it/,
    );
    assert.deepEqual(readdirSync(join(path, "..")), ["tmp"]);
    unlinkSync(join(path, "kept"));
    await links.pointTo("/x");
    assert.equal(readlinkSync(path), "/x");
  });
});
