import assert from "node:assert/strict";
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { Script } from "node:vm";
import packageJson from "../../package.json" with { type: "json" };
import { copyPrograms } from "../unit/runner/root-file-system.ts";

const PROGRAMS = ["bb_worker", "bb_runner"] as const;
const REPOSITORY = join(import.meta.dirname, "../..");
/** Made by scripts/test.ts. */
const PACKAGES = join(REPOSITORY, "node_modules/.cache/package");

/** Which the worker's configuration gives to actions. */
const DEVICES = ["full", "null", "random", "tty", "urandom", "zero"];

const asRoot = process.getuid?.() === 0 ? {} : { skip: "only root can change its root" };

/** A root file system with the executables, their C library, some devices, the configurations, a /tmp; no more. */
function makeRoot(test: TestContext): string {
  const root = mkdtempSync(join(tmpdir(), "packaged-"));
  test.after(() => rmSync(root, { recursive: true }));
  const executables = PROGRAMS.map((program) => join(PACKAGES, "bin", program));
  copyPrograms(root, [...executables, join(PACKAGES, "bundle/ffi-rs.node")]);
  mkdirSync(join(root, "bin"), { recursive: true });
  for (const [index, executable] of executables.entries()) {
    copyFileSync(executable, join(root, "bin", PROGRAMS[index]!));
  }
  mkdirSync(join(root, "tmp"), { recursive: true });
  mkdirSync(join(root, "dev"));
  execFileSync("cp", ["-a", ...DEVICES.map((device) => `/dev/${device}`), join(root, "dev")]);
  cpSync(join(REPOSITORY, "configs"), join(root, "configs"), { recursive: true });
  return root;
}

function run(root: string, ...command: string[]) {
  return spawnSync("chroot", [root, ...command], {
    encoding: "utf8",
    env: { HOSTNAME: "host", PATH: "/usr/sbin:/sbin:/bin" },
  });
}

describe("the executables, where there is neither Node nor npm", asRoot, () => {
  it("say their version and how to use them", (test) => {
    const root = makeRoot(test);
    assert.notEqual(run(root, "node", "--version").status, 0);
    for (const program of PROGRAMS) {
      const version = run(root, program, "--version");
      assert.deepEqual([version.stdout, version.status], [`${program} ${packageJson.version}\n`, 0]);
      const help = run(root, program, "--help");
      assert.match(help.stdout, new RegExp(`^Usage: ${program} `));
      assert.equal(help.stderr, "");
    }
  });

  it("evaluate their configurations", (test) => {
    const root = makeRoot(test);
    for (const [program, configuration] of [
      ["bb_worker", "bb_worker"],
      ["bb_worker", "bb_worker_native"],
      ["bb_runner", "bb_runner"],
    ]) {
      const { stdout, stderr, status } = run(root, program!, "--check", `/configs/${configuration}.jsonnet`);
      assert.equal(status, 0, stderr + stdout);
      assert.equal(JSON.parse(stdout).usable, true);
    }
  });
});

describe("the bundles", () => {
  const bundles = join(PACKAGES, "bundle");

  it("need no other file of this checkout", (test) => {
    const folder = mkdtempSync(join(tmpdir(), "bundles-"));
    test.after(() => rmSync(folder, { recursive: true }));
    cpSync(bundles, folder, { recursive: true });
    for (const program of PROGRAMS) {
      const { stdout, stderr } = spawnSync(process.execPath, [join(folder, `${program}.cjs`), "--version"], {
        cwd: "/",
        encoding: "utf8",
      });
      assert.equal(stdout, `${program} ${packageJson.version}\n`, stderr);
    }
  });

  it("come with code that V8 takes", () => {
    const codes = readdirSync(bundles).filter((file) => file.endsWith(".code"));
    assert.equal(codes.length, 3);
    for (const code of codes) {
      const source = readFileSync(join(bundles, code.replace(/\.code$/, "")), "latin1");
      const script = new Script(source, { cachedData: readFileSync(join(bundles, code)) });
      assert.equal(script.cachedDataRejected, false, code);
    }
  });
});
