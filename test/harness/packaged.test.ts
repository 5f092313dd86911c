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

/** The bundles that a program's code is in. */
const BUNDLES = {
  bb_worker: ["bb_worker.bundle.js", "transfer-thread.js"],
  bb_runner: ["bb_runner.bundle.js"],
};

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

describe("the bills of materials", () => {
  interface Component {
    readonly type: string;
    readonly name: string;
    readonly version: string;
    readonly purl?: string;
    readonly licenses?: readonly object[];
  }

  const billOf = (form: string, program: string) =>
    JSON.parse(readFileSync(join(PACKAGES, form, `${program}.cdx.json`), "utf8"));
  const purls = (components: readonly Component[]) => components.map(({ purl }) => purl!);

  /** What is installed of all packages that a program's bundles have code of: a comment names each file. */
  function installed(program: (typeof PROGRAMS)[number]): Set<string> {
    const text = BUNDLES[program]
      .map((file) => readFileSync(join(PACKAGES, "bundle", file), "latin1"))
      .join();
    const folders = [...text.matchAll(/(?<=^ *\/\/ )node_modules\/(?:@[^/]+\/)?[^/]+/gm)];
    return new Set(
      folders.map(([folder]) => {
        const { name, version } = JSON.parse(readFileSync(join(REPOSITORY, folder, "package.json"), "utf8"));
        return `pkg:npm/${name.replace("@", "%40")}@${version}`;
      }),
    );
  }

  for (const program of PROGRAMS) {
    it(`name each npm package in ${program}, as it is installed, and no other`, () => {
      const expected = installed(program);
      assert.ok(expected.size > 20, "the packages were found");
      for (const form of ["bundle", "bin"]) {
        const npm = purls(billOf(form, program).components).filter((purl) => purl.startsWith("pkg:npm/"));
        assert.deepEqual(npm.toSorted(), [...expected].sort(), form);
      }
    });

    it(`name the C library in ${program}'s helpers, and in the executable Node with its parts`, () => {
      const others = (form: string) =>
        billOf(form, program).components.filter(({ purl }: Component) => !purl!.startsWith("pkg:npm/"));
      const [glibc, node] = others("bin");
      assert.deepEqual(others("bundle"), [glibc]);
      assert.match(glibc.purl, /^pkg:generic\/glibc@2\.\d+$/);
      assert.equal(node.purl, `pkg:generic/node@${process.versions.node}`);
      const openssl = node.components.find(({ name }: Component) => name === "openssl");
      assert.equal(openssl.version, process.versions.openssl);
    });

    for (const form of ["bundle", "bin"]) {
      it(`are CycloneDX, the same each time, of ${form}/${program}`, () => {
        const bill = billOf(form, program);
        assert.deepEqual([bill.bomFormat, bill.specVersion, bill.version], ["CycloneDX", "1.6", 1]);
        assert.deepEqual([bill.serialNumber, bill.metadata.timestamp], [undefined, undefined]);
        const { component } = bill.metadata;
        assert.deepEqual([component.name, component.version], [program, packageJson.version]);
        const components: (Component & { "bom-ref": string })[] = [component, ...bill.components];
        for (const { type, name, version, licenses } of components) {
          assert.match(type, /^(application|library|platform)$/, name);
          assert.ok(name && version && licenses?.length, name);
        }
        // Each has a reference of its own, and its dependencies; the program leads to all.
        const references = components.map((component) => component["bom-ref"]);
        assert.equal(new Set(references).size, references.length);
        const dependencies = new Map<string, string[]>(
          bill.dependencies.map(({ ref, dependsOn }: { ref: string; dependsOn: string[] }) => [
            ref,
            dependsOn,
          ]),
        );
        const reached = new Set<string>([program]);
        for (const reference of reached) {
          for (const dependency of dependencies.get(reference) ?? []) {
            reached.add(dependency);
          }
        }
        assert.deepEqual([...reached].sort(), references.sort());
      });
    }
  }
});
