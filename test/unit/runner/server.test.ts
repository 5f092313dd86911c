import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import { failure } from "../../../src/grpc/status.ts";
import { POSIXResourceUsageSchema } from "../../../src/proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import type { RunRequestSchema } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import {
  type InstallTemporaryDirectoryRequest,
  TemporaryDirectoryInstaller,
} from "../../../src/proto/gen/buildbarn/tmp_installer/tmp_installer_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { serve } from "../worker/fakes.ts";
import { canIsolate } from "./default-hold.ts";
import { childrenOf, processesWith, untilFile } from "./processes.ts";
import { copyPrograms, makeBuildDirectory } from "./root-file-system.ts";
import { startTestRunner } from "./served-runner.ts";

/** A TemporaryDirectoryInstaller that does as the test says. */
async function startInstaller(test: TestContext) {
  const state = {
    installed: [] as string[],
    /** Of the last installation, the header `from`. */
    from: undefined as unknown,
    onInstall: () => {},
    onCheck: () => {},
  };
  const server = await serve((server) =>
    addService(server, TemporaryDirectoryInstaller, {
      checkReadiness: unary(() => {
        state.onCheck();
        return {};
      }),
      installTemporaryDirectory: unary(
        ({ temporaryDirectory }: InstallTemporaryDirectoryRequest, { metadata }) => {
          state.installed.push(temporaryDirectory);
          [state.from] = metadata.get("from");
          state.onInstall();
          return {};
        },
      ),
    }),
  );
  test.after(() => server[Symbol.asyncDispose]());
  return Object.assign(state, { address: server.address });
}

function failsWith(code: Code, message: RegExp) {
  return (error: { code?: number; details?: string }) => {
    assert.equal(error.code, code, String(error));
    assert.match(error.details ?? "", message);
    return true;
  };
}

describe("Run", { timeout: 60_000 }, () => {
  it("returns exit code and resource usage", async (test) => {
    const { client, request, buildDirectory } = await startTestRunner(test);
    const response = await client.run(request("echo hello; exit 3"));
    assert.equal(response.exitCode, 3n);
    assert.equal(readFileSync(join(buildDirectory, "1/stdout"), "utf8"), "hello\n");
    const [any] = response.resourceUsage;
    assert.equal(any?.typeUrl, "type.googleapis.com/buildbarn.resourceusage.POSIXResourceUsage");
    const usage = any && anyUnpack(any, POSIXResourceUsageSchema);
    assert.ok(usage && usage.maximumResidentSetSize > 100_000n);
    assert.equal(usage.terminationSignal, "");
  });

  it("returns -1 and the signal's name for a command that was killed", async (test) => {
    const { client, request } = await startTestRunner(test);
    const response = await client.run(request("kill -KILL $$"));
    const [any] = response.resourceUsage;
    assert.equal(response.exitCode, -1n);
    assert.equal(any && anyUnpack(any, POSIXResourceUsageSchema)?.terminationSignal, "KILL");
  });

  it("fails as INTERNAL when it is the helper that was killed", async (test) => {
    const { client, request, buildDirectory } = await startTestRunner(test);
    // bb_spawn, the command's process of it, and the first process of the command's PID namespace.
    for (const depth of canIsolate ? [0, 1, 2] : [0, 1]) {
      const paths = { stdoutPath: `1/stdout${depth}`, stderrPath: `1/stderr${depth}` };
      const seconds = `1000.${randomInt(1e9)}`;
      const running = client.run(request(`echo started; exec sleep ${seconds}`, paths));
      // Its failure is looked at below.
      running.catch(() => {});
      await untilFile(join(buildDirectory, paths.stdoutPath), /started/);
      let [helper = 0] = childrenOf(process.pid);
      for (let level = 0; level < depth; level++) {
        [helper = 0] = childrenOf(helper);
      }
      process.kill(helper, "SIGKILL");
      await assert.rejects(running, failsWith(Code.INTERNAL, /bb_spawn/));
      while (processesWith(seconds).length > 0) {
        await new Promise(setImmediate);
      }
    }
  });

  it("exits with 127 or 126 for a chrooted command that cannot be executed, and says why on standard error", {
    skip: process.getuid?.() !== 0 && "needs root",
  }, async (test) => {
    const { client, request, buildDirectory } = await startTestRunner(test, { chrootIntoInputRoot: true });
    writeFileSync(join(buildDirectory, "1/root/data"), "no program");
    for (const [index, command, exitCode, reason] of [
      [1, "absent", 127n, "No such file or directory"],
      [2, "/absent", 127n, "No such file or directory"],
      [3, "/data", 126n, "Permission denied"],
    ] as const) {
      const paths = { stdoutPath: `1/o${index}`, stderrPath: `1/e${index}` };
      const response = await client.run(request("", { arguments: [command], ...paths }));
      assert.equal(response.exitCode, exitCode, command);
      const stderr = readFileSync(join(buildDirectory, paths.stderrPath), "utf8");
      assert.equal(stderr, `env: '${command}': ${reason}\n`);
    }
  });

  it("sets TMPDIR where configured, unless the action does", async (test) => {
    const { client, request, buildDirectory } = await startTestRunner(test, {
      setTmpdirEnvironmentVariable: true,
    });
    await client.run(request("echo $TMPDIR"));
    const own = {
      environmentVariables: { PATH: "/bin", TMPDIR: "/own" },
      stdoutPath: "1/o",
      stderrPath: "1/e",
    };
    await client.run(request("echo $TMPDIR", own));
    assert.equal(readFileSync(join(buildDirectory, "1/stdout"), "utf8"), `${buildDirectory}/1/tmp\n`);
    assert.equal(readFileSync(join(buildDirectory, "1/o"), "utf8"), "/own\n");
  });

  it("sets TMPDIR to what a chrooted command has", {
    skip: process.getuid?.() !== 0 && "needs root",
  }, async (test) => {
    const { client, request, buildDirectory } = await startTestRunner(test, {
      chrootIntoInputRoot: true,
      setTmpdirEnvironmentVariable: true,
    });
    copyPrograms(join(buildDirectory, "1/root"), ["/bin/sh"]);
    mkdirSync(join(buildDirectory, "1/root/tmp"));
    await client.run(request('echo "$TMPDIR"; echo kept > "$TMPDIR/file"'));
    assert.equal(readFileSync(join(buildDirectory, "1/stdout"), "utf8"), "/tmp\n");
    assert.equal(readFileSync(join(buildDirectory, "1/root/tmp/file"), "utf8"), "kept\n");
  });

  it("has the temporary directory installed before the command runs", async (test) => {
    const installer = await startInstaller(test);
    const { client, request, buildDirectory } = await startTestRunner(test, {
      temporaryDirectoryInstaller: { address: installer.address },
    });
    mkdirSync(join(buildDirectory, "1/tmp"));
    installer.onInstall = () => {
      assert.ok(!existsSync(join(buildDirectory, "1/stdout")));
    };
    await client.run(request("true"));
    assert.deepEqual(installer.installed, ["1/tmp"]);

    const paths = { stdoutPath: "1/o", stderrPath: "1/e" };
    installer.onInstall = () => {
      throw failure(Code.RESOURCE_EXHAUSTED, "no room");
    };
    const message = /^temporaryDirectoryInstaller cannot install the temporary directory: no room$/;
    await assert.rejects(client.run(request("true", paths)), failsWith(Code.RESOURCE_EXHAUSTED, message));
    assert.ok(!existsSync(join(buildDirectory, "1/o")), "the command does not run");
  });

  it("tells the installer of the call that it is asked for, as its client's expression says", async (test) => {
    const installer = await startInstaller(test);
    const { client, request, buildDirectory } = await startTestRunner(test, {
      temporaryDirectoryInstaller: {
        address: installer.address,
        addMetadataJmespathExpression: { expression: "{from: incomingGRPCMetadata.worker}" },
      },
    });
    mkdirSync(join(buildDirectory, "1/tmp"));
    const metadata = new Metadata();
    metadata.set("worker", "the first");
    await client.run(request("true"), { metadata });
    assert.equal(installer.from, "the first");
  });

  it("refuses what is the action's fault as INVALID_ARGUMENT", async (test) => {
    const { client, request } = await startTestRunner(test);
    const cases: [MessageInitShape<typeof RunRequestSchema>, RegExp][] = [
      [{ arguments: [] }, /command to run is missing/],
      [{ arguments: ["nonexistent"] }, /command "nonexistent" was not found.*"\/usr\/bin:\/bin"/],
      [{ arguments: ["./x"] }, /command "\.\/x" cannot be executed: No such file/],
      [{ workingDirectory: "no" }, /working directory "no"/],
      [{ workingDirectory: "a/../../b" }, /working_directory "a\/\.\.\/\.\.\/b" leaves/],
      [{ workingDirectory: "/etc" }, /working_directory "\/etc" is absolute/],
      [{ stdoutPath: "hello/../../etc/passwd" }, /stdout_path "hello/],
      [{ inputRootDirectory: "/" }, /input_root_directory "\/" is absolute/],
      [{ temporaryDirectory: ".." }, /temporary_directory/],
      [{ environmentVariables: { "A=B": "" } }, /"A=B"/],
      [{ arguments: ["sh", "a\0b"] }, /NUL/],
    ];
    let n = 0;
    for (const [changes, message] of cases) {
      const logs = { stdoutPath: `1/o${n}`, stderrPath: `1/e${n++}` };
      await assert.rejects(
        client.run(request("", { ...logs, ...changes })),
        failsWith(Code.INVALID_ARGUMENT, message),
      );
    }
  });

  it("tells about propagation where the input root is missing", async (test) => {
    const { client, request } = await startTestRunner(test);
    await assert.rejects(
      client.run(request("true", { inputRootDirectory: "2/root" })),
      failsWith(Code.INTERNAL, /"2\/root" is not there.*shared/),
    );
  });

  it("kills the command when the call is cancelled or its deadline passes", async (test) => {
    const { client, request, buildDirectory } = await startTestRunner(test);
    const seconds = `1000.${randomInt(1e9)}`;
    const script = `echo $$ >>pids; sleep ${seconds}`;
    const started = (count: number) =>
      untilFile(join(buildDirectory, "1/root/pids"), new RegExp(`(\\d+\\n){${count}}`));
    const controller = new AbortController();
    const cancelled = client.run(request(script), { signal: controller.signal });
    await started(1);
    controller.abort();
    await assert.rejects(cancelled, failsWith(Code.CANCELLED, /./));
    while (processesWith(seconds).length > 0) {
      await new Promise(setImmediate);
    }

    // On a busy machine a deadline can pass before the command has begun.
    const late = request(script, { stdoutPath: "1/o", stderrPath: "1/e" });
    const begun = () => readFileSync(join(buildDirectory, "1/root/pids"), "utf8").split("\n").length > 2;
    for (let milliseconds = 300; !begun(); milliseconds *= 2) {
      await assert.rejects(
        client.run(late, { deadline: Date.now() + milliseconds }),
        failsWith(Code.DEADLINE_EXCEEDED, /./),
      );
    }
    while (processesWith(seconds).length > 0) {
      await new Promise(setImmediate);
    }
  });

  it("reports a failed command as none where a path the configuration names has disappeared", async (test) => {
    const needed = join(makeBuildDirectory(test), "needed");
    writeFileSync(needed, "");
    const { client, request } = await startTestRunner(test, { readinessCheckingPathnames: [needed] });
    await client.checkReadiness({ path: "" });
    await assert.rejects(client.run(request(`rm ${needed}; exit 1`)), failsWith(Code.UNAVAILABLE, /needed/));
    await assert.rejects(client.checkReadiness({ path: "" }), failsWith(Code.UNAVAILABLE, /needed/));
  });
});

describe("CheckReadiness", () => {
  it("asks the installer of temporary directories, which keeps its status", async (test) => {
    const installer = await startInstaller(test);
    const { client } = await startTestRunner(test, {
      temporaryDirectoryInstaller: { address: installer.address },
    });
    await client.checkReadiness({ path: "" });
    installer.onCheck = () => {
      throw failure(Code.FAILED_PRECONDITION, "not mounted");
    };
    const message = /^temporaryDirectoryInstaller is not ready: not mounted$/;
    await assert.rejects(client.checkReadiness({ path: "" }), failsWith(Code.FAILED_PRECONDITION, message));
    assert.deepEqual(installer.installed, []);
  });

  it("says so when the build directory is not there, as does Run", async (test) => {
    const folder = makeBuildDirectory(test);
    for (const absent of [join(folder, "absent"), join(folder, "absent/below")]) {
      const { client, request } = await startTestRunner(test, { buildDirectoryPath: absent });
      const message = new RegExp(`^buildDirectoryPath "${absent}": No such file or directory\\. Set it to`);
      const says = failsWith(Code.INTERNAL, message);
      await assert.rejects(client.checkReadiness({ path: "" }), says);
      await assert.rejects(client.checkReadiness({ path: "1/root" }), says);
      await assert.rejects(client.run(request("true")), says);
    }
    writeFileSync(join(folder, "file"), "");
    const { client } = await startTestRunner(test, { buildDirectoryPath: join(folder, "file") });
    await assert.rejects(
      client.checkReadiness({ path: "" }),
      failsWith(Code.INTERNAL, /buildDirectoryPath .*: Not a directory/),
    );
  });

  it("looks for the path in the build directory", async (test) => {
    const { client } = await startTestRunner(test);
    await client.checkReadiness({ path: "" });
    await client.checkReadiness({ path: "1/root" });
    await assert.rejects(client.checkReadiness({ path: "2" }), failsWith(Code.INTERNAL, /"2" is not there/));
    await assert.rejects(client.checkReadiness({ path: "../x" }), failsWith(Code.INVALID_ARGUMENT, /leaves/));
  });
});

describe("cleaning", () => {
  it("empties temporary directories and runs a command before and after the runner is busy", async (test) => {
    const temporary = makeBuildDirectory(test);
    const count = join(makeBuildDirectory(test), "count");
    mkdirSync(join(temporary, "old/er"), { recursive: true });
    const { client, request } = await startTestRunner(test, {
      cleanTemporaryDirectories: [temporary],
      runCommandCleaner: ["sh", "-c", `echo >>${count}`],
    });
    const response = await client.run(
      request(`ls ${temporary} | wc -l; mkdir ${temporary}/new; cat ${count} | wc -l`),
    );
    assert.equal(response.exitCode, 0n);
    assert.deepEqual(statSync(count).size, 2);
    assert.ok(!existsSync(join(temporary, "old")) && !existsSync(join(temporary, "new")));
  });

  const replacements = {
    "a symlink": (kept: string) => `rmdir directory; ln -s ${kept} directory`,
    "a symlink that leads nowhere": () => "rmdir directory; ln -s nowhere directory",
    "a file": () => "rmdir directory; echo >directory",
    "a FIFO": () => "rmdir directory; mkfifo directory",
    "another directory": () => "rmdir directory; mkdir -m 111 directory; chmod 311 directory",
    nothing: () => "rmdir directory",
  };
  for (const [what, script] of Object.entries(replacements)) {
    it(`makes a temporary directory again where a command has left ${what}, and follows nothing`, async (test) => {
      const kept = makeBuildDirectory(test);
      const folder = makeBuildDirectory(test);
      const directory = join(folder, "directory");
      mkdirSync(join(kept, "kept"));
      mkdirSync(directory);
      chmodSync(directory, 0o1777);
      if (process.getuid?.() === 0) {
        chownSync(directory, 61234, 61235);
      }
      const { uid, gid } = statSync(directory);
      symlinkSync(directory, join(folder, "temporary"));
      writeFileSync(join(directory, "old"), "");
      const { client, request } = await startTestRunner(test, {
        cleanTemporaryDirectories: [join(folder, "temporary")],
      });
      assert.equal((await client.run(request(`cd ${folder}; ${script(kept)}`))).exitCode, 0n);
      const now = lstatSync(directory);
      assert.ok(now.isDirectory());
      assert.deepEqual([now.mode & 0o7777, now.uid, now.gid], [0o1777, uid, gid]);
      assert.deepEqual([readdirSync(directory), readdirSync(kept)], [[], ["kept"]]);
      const next = { ...request(`echo >${folder}/temporary/new`), stdoutPath: "1/out", stderrPath: "1/err" };
      assert.equal((await client.run(next)).exitCode, 0n);
      assert.deepEqual(readdirSync(directory), []);
    });
  }

  it("does not follow a symlink that a command has put on the way to a temporary directory", async (test) => {
    const kept = makeBuildDirectory(test);
    const folder = makeBuildDirectory(test);
    mkdirSync(join(kept, "directory/kept"), { recursive: true });
    mkdirSync(join(folder, "on/directory"), { recursive: true });
    const { client } = await startTestRunner(test, {
      cleanTemporaryDirectories: [join(folder, "on/directory")],
    });
    await client.checkReadiness({ path: "" });
    renameSync(join(folder, "on"), join(folder, "off"));
    symlinkSync(kept, join(folder, "on"));
    await assert.rejects(client.checkReadiness({ path: "" }), failsWith(Code.INTERNAL, /symbolic links/));
    assert.deepEqual(readdirSync(join(kept, "directory")), ["kept"]);
  });

  it("that fails makes the runner not ready", async (test) => {
    const { client } = await startTestRunner(test, { runCommandCleaner: ["sh", "-c", "exit 9"] });
    await assert.rejects(
      client.checkReadiness({ path: "" }),
      failsWith(Code.INTERNAL, /sh failed: exit code 9/),
    );
  });

  it("links temporary directories to the action's", async (test) => {
    const link = join(makeBuildDirectory(test), "tmp");
    const { client, request, buildDirectory } = await startTestRunner(test, {
      symlinkTemporaryDirectories: [link],
    });
    await client.checkReadiness({ path: "" });
    assert.equal(readlinkSync(link), "/nonexistent");
    await client.run(request("true"));
    assert.equal(readlinkSync(link), join(buildDirectory, "1/tmp"));
  });
});

describe("stopping", { timeout: 30_000 }, () => {
  it("ends running commands and reports them UNAVAILABLE", async (test) => {
    const seconds = `1000.${randomInt(1e9)}`;
    const { client, request, runner, buildDirectory } = await startTestRunner(test);
    const running = client.run(request(`echo $$ >pid; sleep ${seconds}`));
    await untilFile(join(buildDirectory, "1/root/pid"), /\n/);
    const rejected = assert.rejects(running, failsWith(Code.UNAVAILABLE, /./));
    await runner.close(60_000);
    assert.deepEqual(processesWith(seconds), []);
    await rejected;
  });

  it("lets them end by themselves where configured", async (test) => {
    const { client, request, runner, buildDirectory } = await startTestRunner(test, {}, true);
    const running = client.run(request("echo >started; while [ ! -e go ]; do sleep 0.01; done; exit 5"));
    await untilFile(join(buildDirectory, "1/root/started"), /\n/);
    const closed = runner.close(60_000);
    writeFileSync(join(buildDirectory, "1/root/go"), "");
    assert.equal((await running).exitCode, 5n);
    await closed;
  });

  it("gives up cleaning that does not end", async (test) => {
    const seconds = `1000.${randomInt(1e9)}`;
    const folder = makeBuildDirectory(test);
    const { client, runner } = await startTestRunner(test, {
      runCommandCleaner: ["sh", "-c", `echo >${folder}/started; sleep ${seconds}; true`],
    });
    const rejected = assert.rejects(client.checkReadiness({ path: "" }), failsWith(Code.UNAVAILABLE, /./));
    await untilFile(join(folder, "started"), /\n/);
    await runner.close();
    // They have been killed, and nobody waits for all of them to be gone.
    while (processesWith(seconds).length > 0) {
      await new Promise(setImmediate);
    }
    await rejected;
  });
});
