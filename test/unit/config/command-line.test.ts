import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { globSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";

const source = join(import.meta.dirname, "../../../src");
const folder = mkdtempSync(join(tmpdir(), "command-line-"));
after(() => rmSync(folder, { recursive: true }));

function run(program: "worker" | "runner", words: readonly string[], input = "") {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [join(source, program, "main.ts"), ...words],
    { input, encoding: "utf8", cwd: folder },
  );
  return { status, stdout, stderr };
}

/** The variables that these sources read by their names. */
function environmentOf(patterns: readonly string[]): readonly string[] {
  const text = globSync(patterns, { cwd: source })
    .map((file) => readFileSync(join(source, file), "utf8"))
    .join("");
  return [...text.matchAll(/process\.env\.(\w+)|\{ (\w+)(?:: \w+)? \} = process\.env/g)].map(
    ([, dotted, taken]) => dotted ?? taken!,
  );
}

const server = `{ listenPaths: ["/runner"], authenticationPolicy: { allow: {} } }`;
const runner = `local common = import "common.libsonnet";
  { buildDirectoryPath: "/build", grpcServers: [common.server + { initialConnWindowSizeBytes: 5 }] }`;
writeFileSync(join(folder, "common.libsonnet"), `{ server: ${server} }`);

describe("the command lines of bb_worker and bb_runner", () => {
  for (const program of ["worker", "runner"] as const) {
    it(`bb_${program} --help explains itself`, () => {
      const { status, stdout } = run(program, ["--help"]);
      assert.equal(status, 0);
      assert.match(stdout, new RegExp(`^Usage: bb_${program} \\[--check\\b.*\\] CONFIG`));
      const shared = ["BB_LOG_LEVEL", "BB_LOG_FORMAT"];
      const own = environmentOf([`${program}/**/*.ts`, "telemetry/**/*.ts", "grpc/**/*.ts", "cas/**/*.ts"]);
      for (const variable of [...shared, ...own]) {
        assert.match(stdout, new RegExp(`^  ${variable}\\b`, "m"));
      }
    });

    for (const words of [[], ["--check"], ["--chekc", "a"], ["a", "b"]]) {
      it(`bb_${program} ${words.join(" ")} is refused with the usage`, () => {
        const { status, stdout, stderr } = run(program, words);
        assert.deepEqual([status, stdout], [2, ""]);
        assert.match(stderr, /^Usage: /);
      });
    }
  }

  it("--check - prints what it makes of standard input, whose imports are in the working directory", () => {
    const { status, stdout, stderr } = run("runner", ["--check", "-"], runner);
    assert.deepEqual([status, stderr], [0, ""]);
    const { settings, ...report } = JSON.parse(stdout);
    assert.deepEqual(report, {
      usable: true,
      problems: [],
      doneOtherwise: [
        {
          field: "grpcServers[0].initialConnWindowSizeBytes",
          instead: "the window of a connection is that of its streams",
        },
      ],
    });
    assert.equal(settings.buildDirectoryPath, "/build");
    assert.equal(settings.cleanProcessTable, false);
  });

  it("--check prints everything that is wrong, and ends with 1", () => {
    const file = join(folder, "wrong.jsonnet");
    writeFileSync(
      file,
      `{ buildDirectoryPath: "build", grpcServers: [], appleXcodeDeveloperDirectories: { a: "b" } }`,
    );
    const { status, stdout } = run("runner", ["--check", file]);
    assert.equal(status, 1);
    const { usable, problems } = JSON.parse(stdout);
    assert.equal(usable, false);
    assert.deepEqual(
      problems.map((problem: string) => problem.split(" ")[0]),
      ["appleXcodeDeveloperDirectories", "buildDirectoryPath", "grpcServers"],
    );
  });

  it("--check says what does not parse", () => {
    const { status, stdout } = run("worker", ["--check", "-"], `{ schedule: {} }`);
    assert.equal(status, 1);
    assert.match(JSON.parse(stdout).problems[0], /^-: schedule: there is no such field/);
  });

  it("--check repeats no secrets", () => {
    const pair = { inline: { certificate: "certificate", privateKey: "SECRET" } };
    const configuration = {
      scheduler: {
        address: "a:1",
        tls: { clientKeyPair: pair },
        addMetadata: [{ header: "authorization", values: ["SECRET"] }],
      },
      blobstore: {
        contentAddressableStorage: { error: { code: 5 } },
        actionCache: { error: { code: 5 } },
      },
      filePool: { blockDevice: { file: { path: "/pool", sizeBytes: "1000" } } },
      buildDirectories: [
        {
          virtual: { mount: { mountPath: "/build", nfsv4: {} } },
          runners: [{ endpoint: { address: "b:1" }, concurrency: "1" }],
        },
      ],
    };
    const { status, stdout } = run("worker", ["--check", "-"], JSON.stringify(configuration));
    assert.equal(status, 0, stdout);
    assert.match(stdout, /"certificate": "certificate"/);
    assert.doesNotMatch(stdout, /SECRET/);
  });
});
