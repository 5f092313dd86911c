import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { randomInt } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmdirSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { isMounted } from "../../../src/mount/mount-table.ts";
import { KEPT_CAPABILITIES } from "../../../src/runner/hold.ts";
import { type Command, HelperError, type Hold } from "../../../src/runner/spawn/command.ts";
import { HelperProcess } from "../../../src/runner/spawn/helper-process.ts";
import { Spawner } from "../../../src/runner/spawn/spawner.ts";
import { canIsolate, chrootedHold, defaultHold } from "./default-hold.ts";
import { childrenOf, processesWith, untilFile } from "./processes.ts";
import { copyPrograms, makeBuildDirectory } from "./root-file-system.ts";
import { spawner } from "./spawner.ts";

const whenIsolated = canIsolate ? {} : { skip: "needs CAP_SYS_ADMIN" };
const asRoot = process.getuid?.() === 0 ? {} : { skip: "needs root" };

/** A command in a fresh build directory with an empty input root, "root". */
function command(test: TestContext, changes: Partial<Command> & Pick<Command, "arguments">): Command {
  const buildDirectory = makeBuildDirectory(test);
  mkdirSync(join(buildDirectory, "root"));
  return {
    buildDirectory,
    inputRootDirectory: "root",
    workingDirectory: "",
    stdoutPath: "stdout",
    stderrPath: "stderr",
    temporaryDirectory: "",
    cgroup: undefined,
    hold: defaultHold,
    maximumProcessesOfUser: undefined,
    credentials: undefined,
    limits: [],
    environment: { PATH: "/usr/bin:/bin" },
    ...changes,
  };
}

function shell(test: TestContext, script: string, changes: Partial<Command> = {}): Command {
  return command(test, { arguments: ["/bin/sh", "-c", script], ...changes });
}

const output = (of: Command, name = "stdout") => readFileSync(join(of.buildDirectory, name), "utf8");

function fails(stage: string, code: string, subject: string | RegExp) {
  return (error: unknown) => {
    assert.ok(error instanceof HelperError, String(error));
    assert.deepEqual({ stage: error.stage, code: error.code }, { stage, code });
    if (typeof subject === "string") {
      assert.equal(error.subject, subject);
    } else {
      assert.match(error.subject, subject);
    }
    return true;
  };
}

describe("a command", () => {
  it("has exactly the arguments and the environment it was given", async (test) => {
    const run = command(test, {
      arguments: ["/usr/bin/printf", "%s|", "", "two words", "\u00e9\n"],
      environment: {},
    });
    assert.equal((await spawner.run(run)).exitCode, 0);
    assert.equal(output(run), "|two words|é\n|");

    const environment = command(test, { arguments: ["/usr/bin/env"], environment: { A: "1", B: "x=y\n" } });
    await spawner.run(environment);
    assert.equal(output(environment), "A=1\nB=x=y\n\n");
  });

  it("takes more than a command line's usual length", async (test) => {
    const long = "x".repeat(100_000);
    const run = command(test, {
      arguments: ["/usr/bin/printf", "%s", long, long],
      environment: { LONG: long },
    });
    await spawner.run(run);
    assert.equal(output(run).length, 200_000);
  });

  it("writes to its own files, and reads nothing", async (test) => {
    const run = shell(test, "echo out; echo err >&2; cat; exit 7");
    assert.equal((await spawner.run(run)).exitCode, 7);
    assert.equal(output(run), "out\n");
    assert.equal(output(run, "stderr"), "err\n");
  });

  it("inherits no file but those three", async (test) => {
    const run = shell(test, "ls /proc/self/fd");
    await spawner.run(run);
    // 3 is the folder that ls reads.
    assert.equal(output(run), "0\n1\n2\n3\n");
  });

  it("has default signal handling, and leads its own session", async (test) => {
    const run = shell(
      test,
      "grep -E 'Sig(Blk|Ign)' /proc/self/status; cut -d' ' -f5,6 /proc/$$/stat; echo $$",
    );
    await spawner.run(run);
    const [blocked, ignored, ids, pid] = output(run).split("\n");
    assert.match(`${blocked} ${ignored}`, /^SigBlk:\t0{16} SigIgn:\t0{16}$/);
    assert.equal(ids, `${pid} ${pid}`);
  });

  it("reports the signal that ended it, and what it used", async (test) => {
    const result = await spawner.run(
      shell(test, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; kill -SEGV $$"),
    );
    assert.deepEqual({ exitCode: result.exitCode, signal: result.signal }, { exitCode: -1, signal: 11 });
    assert.ok(result.usage.userMicroseconds + result.usage.systemMicroseconds > 0n);
    assert.ok(result.usage.maximumResidentSetKibibytes > 100n);
    assert.ok(result.usage.pageReclaims > 0n);
  });

  it("starts in its working directory", async (test) => {
    const run = shell(test, "pwd", { workingDirectory: "some/where" });
    mkdirSync(join(run.buildDirectory, "root/some/where"), { recursive: true });
    await spawner.run(run);
    assert.equal(output(run), `${run.buildDirectory}/root/some/where\n`);
  });

  it("gets the limits asked for", async (test) => {
    const run = shell(test, "ulimit -Sn; ulimit -Hn", {
      limits: [{ name: "NOFILE", resource: 7, soft: 100n, hard: 200n }],
    });
    await spawner.run(run);
    assert.equal(output(run), "100\n200\n");
  });

  it("runs as the user asked for", asRoot, async (test) => {
    const run = shell(test, "id -u; id -g; id -G", {
      credentials: { userId: 1234, groupId: 2345, additionalGroupIds: [3456, 4567] },
    });
    chmodSync(run.buildDirectory, 0o755);
    await spawner.run(run);
    assert.equal(output(run), "1234\n2345\n2345 3456 4567\n");
  });
});

describe("a chrooted command", asRoot, () => {
  it("sees the input root as /, and is found there by its own PATH", async (test) => {
    const run = command(test, {
      arguments: ["sh", "-c", "pwd; echo /*; echo $0"],
      workingDirectory: "work",
      hold: chrootedHold,
      environment: { PATH: "/nowhere:/bin" },
    });
    const root = join(run.buildDirectory, "root");
    mkdirSync(join(root, "work"));
    copyPrograms(root, ["/bin/sh"]);
    assert.equal((await spawner.run(run)).exitCode, 0);
    assert.match(output(run), /^\/work\n\/bin \/.* \/work\nsh\n$/);
  });

  it("cannot be found outside", async (test) => {
    const run = command(test, {
      arguments: ["sh"],
      hold: chrootedHold,
      environment: { PATH: "/bin" },
    });
    await assert.rejects(spawner.run(run), fails("search", "ENOENT", "sh"));
  });

  it("is told apart from its missing loader", async (test) => {
    const run = command(test, { arguments: ["/sh"], hold: chrootedHold });
    writeFileSync(join(run.buildDirectory, "root/sh"), readFileSync("/bin/sh"), { mode: 0o755 });
    await assert.rejects(spawner.run(run), fails("interpreter", "ENOENT", "/sh"));
  });
});

describe("a command that cannot be started", () => {
  it("is reported with the path that was tried", async (test) => {
    await assert.rejects(spawner.run(command(test, { arguments: ["./x"] })), fails("exec", "ENOENT", "./x"));
    await assert.rejects(spawner.run(command(test, { arguments: ["/"] })), fails("exec", "EACCES", "/"));
    const plain = command(test, { arguments: ["../data"], workingDirectory: "d" });
    mkdirSync(join(plain.buildDirectory, "root/d"));
    writeFileSync(join(plain.buildDirectory, "root/data"), "no program", { mode: 0o755 });
    await assert.rejects(spawner.run(plain), fails("exec", "ENOEXEC", "../data"));
  });

  it("is looked up in the environment's PATH only, whose relative entries are the working directory's", async (test) => {
    for (const environment of [{}, { PATH: "" }, { PATH: "/nonexistent:/etc/passwd" }] as Record<
      string,
      string
    >[]) {
      const run = command(test, { arguments: ["sh", "-c", "exit 1"], environment });
      await assert.rejects(spawner.run(run), fails("search", "ENOENT", "sh"));
    }
    const run = command(test, { arguments: ["hello"], environment: { PATH: "sub:/usr/bin" } });
    mkdirSync(join(run.buildDirectory, "root/sub"));
    writeFileSync(join(run.buildDirectory, "root/sub/hello"), "#!/bin/sh\necho $0\n", { mode: 0o755 });
    await spawner.run(run);
    assert.equal(output(run), "sub/hello\n");
  });

  it("is passed over in PATH where it may not be executed, and reported if there is no other", async (test) => {
    const run = command(test, { arguments: ["env"], environment: { PATH: "sub:/usr/bin" } });
    mkdirSync(join(run.buildDirectory, "root/sub"));
    writeFileSync(join(run.buildDirectory, "root/sub/env"), "", { mode: 0o644 });
    assert.equal((await spawner.run(run)).exitCode, 0);
    const only = { ...run, stdoutPath: "o", stderrPath: "e", environment: { PATH: "sub" } };
    await assert.rejects(spawner.run(only), fails("exec", "EACCES", "sub/env"));
  });

  it("is told apart from a script's missing interpreter", async (test) => {
    const run = command(test, { arguments: ["./script"] });
    writeFileSync(join(run.buildDirectory, "root/script"), "#!/no/such/interpreter\n", { mode: 0o755 });
    await assert.rejects(spawner.run(run), fails("interpreter", "ENOENT", "./script"));
  });

  it("names the place that is not there", async (test) => {
    const missing = shell(test, "true", { workingDirectory: "no/where" });
    await assert.rejects(spawner.run(missing), fails("working_directory", "ENOENT", "no/where"));
    const noRoot = shell(test, "true", { inputRootDirectory: "elsewhere" });
    await assert.rejects(spawner.run(noRoot), fails("input_root_directory", "ENOENT", "elsewhere"));
    const noBuildDirectory = shell(test, "true", { buildDirectory: "/no/such/directory" });
    await assert.rejects(
      spawner.run(noBuildDirectory),
      fails("build_directory", "ENOENT", "/no/such/directory"),
    );
  });

  it("gets no output file outside the build directory, or in place of another", async (test) => {
    const run = shell(test, "true");
    symlinkSync("/tmp", join(run.buildDirectory, "link"));
    symlinkSync("/tmp/bb-runner-escaped", join(run.buildDirectory, "dangling"));
    writeFileSync(join(run.buildDirectory, "taken"), "");
    const escapes = {
      "link/x": "ENOTDIR",
      dangling: "EEXIST",
      "../x": "EXDEV",
      "root/../../x": "EXDEV",
      taken: "EEXIST",
    };
    for (const [stdoutPath, code] of Object.entries(escapes)) {
      await assert.rejects(spawner.run({ ...run, stdoutPath }), fails("stdout_path", code, stdoutPath));
    }
    await assert.rejects(
      spawner.run({ ...run, inputRootDirectory: "link" }),
      fails("input_root_directory", "ENOTDIR", "link"),
    );
  });

  it("is refused if an argument cannot be passed at all", async (test) => {
    await assert.rejects(spawner.run(command(test, { arguments: ["/bin/true", "a\0b"] })), RangeError);
    const huge = command(test, { arguments: ["/bin/true", "x".repeat(4_000_000)] });
    await assert.rejects(spawner.run(huge), fails("exec", "E2BIG", "/bin/true"));
  });
});

/** undefined once there is no such process. */
function parentOf(pid: number): number | undefined {
  try {
    return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1"))?.[1]);
  } catch {
    return undefined;
  }
}

/** Sleeps that can be told from all others, also where process numbers mean something else. */
function sleeps(): { sleep: string; left: () => number[] } {
  const seconds = `1000.${randomInt(1e9)}`;
  return { sleep: `sleep ${seconds}`, left: () => processesWith(seconds) };
}

const kinds = canIsolate ? [true, false] : [false];
for (const isolated of kinds) {
  const hold: Hold = { ...defaultHold, isolated };
  const name = isolated ? "an isolated command" : "a command that is not isolated";

  describe(`when ${name} ends`, { timeout: 30_000 }, () => {
    it("its background processes and daemons are gone", async (test) => {
      const { sleep, left } = sleeps();
      // setsid leaves the process group, the subshells leave the parent.
      const run = shell(
        test,
        `${sleep} & echo $! >>pids; setsid sh -c '(${sleep} & echo $! >>pids) & echo $$ >>pids; wait' & ` +
          "while [ $(wc -l <pids) -lt 3 ]; do sleep 0.01; done",
        { hold },
      );
      assert.equal((await spawner.run(run)).exitCode, 0);
      assert.deepEqual(left(), []);
    });
  });

  describe(`cancelling ${name}`, { timeout: 30_000 }, () => {
    it("kills it and everything it has started, also what ignores signals", async (test) => {
      const { sleep, left } = sleeps();
      const run = shell(
        test,
        `trap '' TERM INT HUP; setsid ${sleep} & echo $! >>pids; ${sleep} & echo $! >>pids; echo $$ >>pids; wait`,
        { hold },
      );
      const controller = new AbortController();
      const running = spawner.run(run, controller.signal);
      await untilFile(join(run.buildDirectory, "root/pids"), /(\d+\n){3}/);
      controller.abort();
      const { exitCode, signal } = await running;
      assert.deepEqual({ exitCode, signal }, { exitCode: -1, signal: 9 });
      assert.deepEqual(left(), []);
    });

    it("before it has begun keeps it from running", async (test) => {
      const run = shell(test, "true", { hold });
      await assert.rejects(spawner.run(run, AbortSignal.abort(new Error("early"))), /early/);
    });

    it("happens when the runner is killed, also together with the helper", async (test) => {
      for (const alsoHelper of isolated ? [false, true] : [false]) {
        const { sleep, left } = sleeps();
        const run = shell(test, `setsid ${sleep} & echo $! >>pids; echo $$ >>pids; wait`, { hold });
        const program = `import { Spawner } from ${JSON.stringify(import.meta.resolve("../../../src/runner/spawn/spawner.ts"))};
          await using spawner = new Spawner();
          await spawner.run(${JSON.stringify(run)});`;
        const runner = spawn(process.execPath, ["--input-type=module", "--eval", program], {
          stdio: "inherit",
        });
        await untilFile(join(run.buildDirectory, "root/pids"), /(\d+\n){2}/);
        const [helper = 0] = childrenOf(runner.pid ?? 0);
        const jobs = childrenOf(helper);
        for (const pid of alsoHelper ? [helper, ...jobs] : []) {
          process.kill(pid, "SIGKILL");
        }
        runner.kill("SIGKILL");
        await once(runner, "exit");
        while (left().length > 0) {
          await new Promise(setImmediate);
        }
      }
    });
  });
}

const mayMount: Hold = {
  ...defaultHold,
  capabilities: [...KEPT_CAPABILITIES, "SYS_ADMIN"],
  systemCalls: ["mount"],
};

describe("an isolated command", { ...whenIsolated, timeout: 30_000 }, () => {
  it("can neither see, kill nor stop who runs it", async (test) => {
    const { sleep, left } = sleeps();
    const run = shell(
      test,
      `setsid ${sleep} & echo $PPID; kill -KILL 1; kill -STOP 1; ps -e -o pid= | wc -l; ls /proc | grep -c '^[0-9]'; exit 3`,
    );
    assert.equal((await spawner.run(run)).exitCode, 3);
    const [parent, , processes] = output(run).split("\n").map(Number);
    assert.equal(parent, 1);
    // The first, the shell, the sleep, ls and grep, and perhaps a subshell.
    assert.ok(processes && processes <= 7, `${processes} processes are seen`);
    assert.deepEqual(left(), []);
  });

  it("takes its mounts with it", async (test) => {
    const run = shell(test, "mkdir m && mount -t tmpfs tmpfs m && touch m/f && ls m", { hold: mayMount });
    await spawner.run(run);
    assert.equal(output(run), "f\n");
    rmdirSync(join(run.buildDirectory, "root/m"));
  });

  it("has its mounts for itself, also where those of this machine are shared", async (test) => {
    const run = shell(test, "mkdir m && mount -t tmpfs tmpfs m && echo mounted", { hold: mayMount });
    const { buildDirectory } = run;
    execFileSync("mount", ["--bind", buildDirectory, buildDirectory]);
    try {
      execFileSync("mount", ["--make-shared", buildDirectory]);
      await spawner.run(run);
      assert.equal(output(run), "mounted\n");
      assert.ok(!isMounted(join(buildDirectory, "root/m")));
    } finally {
      execFileSync("umount", ["-R", buildDirectory]);
    }
  });

  it("has its orphans reaped", async (test) => {
    const script =
      "sh -c 'true & echo $! >pid'; pid=$(cat pid); i=0; " +
      "while [ -d /proc/$pid ] && [ $i -lt 500 ]; do sleep 0.01; i=$((i+1)); done; [ -d /proc/$pid ] || echo reaped";
    const run = shell(test, script);
    await spawner.run(run);
    assert.equal(output(run), "reaped\n");
  });

  it("takes its shared memory and semaphores with it, and sees no others", async (test) => {
    if (!existsSync("/usr/bin/ipcmk")) {
      return test.skip("needs ipcmk");
    }
    const seen = "tail -qn +2 /proc/sysvipc/* | wc -l";
    const outside = () => ["shm", "sem"].map((kind) => readFileSync(`/proc/sysvipc/${kind}`, "latin1"));
    const before = outside();
    const first = shell(test, `ipcmk -M 4096 >/dev/null && ipcmk -S 1 >/dev/null && ${seen}`);
    await spawner.run(first);
    assert.equal(output(first), "2\n");
    const next = shell(test, seen);
    await spawner.run(next);
    assert.equal(output(next), "0\n");
    assert.deepEqual(outside(), before);
  });

  it("cannot leave the input root as root can leave a chroot", async (test) => {
    const perl = "/usr/bin/perl";
    if (!existsSync(perl)) {
      return test.skip("needs perl");
    }
    const program =
      'mkdir "x"; opendir(my $outer, "."); chroot("x") or die $!; chdir($outer) or die $!; ' +
      'chdir("..") for 1..64; chroot("."); print -e "/proc/version" ? "outside\\n" : "inside\\n"';
    const run = command(test, { arguments: [perl, "-e", program], hold: chrootedHold });
    const root = join(run.buildDirectory, "root");
    copyPrograms(root, [perl]);
    // Perl opens it for the program that -e gives.
    mkdirSync(join(root, "dev"));
    writeFileSync(join(root, "dev/null"), "");
    const { exitCode } = await spawner.run(run);
    assert.equal(output(run, "stderr"), "");
    assert.deepEqual([exitCode, output(run)], [0, "inside\n"]);
  });
});

describe("a helper that cannot end", { ...asRoot, timeout: 30_000 }, () => {
  it("is left to itself when it was given time", async (test) => {
    const perl = "/usr/bin/perl";
    if (!existsSync(perl)) {
      return test.skip("needs perl");
    }
    const run = shell(test, "echo >started; exec sleep 1000", { hold: { ...defaultHold, isolated: false } });
    const controller = new AbortController();
    test.after(() => controller.abort());
    const running = spawner.run(run, controller.signal, 100);
    await untilFile(join(run.buildDirectory, "root/started"), /\n/);
    const helper = processesWith("bin/bb_spawn").find((pid) => parentOf(pid) === spawner.processId);
    assert.ok(helper);
    process.kill(helper, "SIGSTOP");
    // As a child that waits in the kernel, it has the helper's output open: pidfd_open(2), pidfd_getfd(2).
    const program = `my $fd = syscall(438, syscall(434, ${helper}, 0), 1, 0); die $! if $fd < 0; $| = 1; print "1"; sleep`;
    const child = spawn(perl, ["-e", program], { stdio: ["ignore", "pipe", "inherit"] });
    test.after(() => child.kill("SIGKILL"));
    await once(child.stdout, "data");
    controller.abort(new Error("given up"));
    await assert.rejects(running, /given up/);
  });
});

describe("commands at the same time", { timeout: 30_000 }, () => {
  it("do not touch each other, until the helper that they share is killed", async (test) => {
    await using spawner = new Spawner();
    const start = async () => {
      const run = shell(test, "echo >started; read line <gate");
      const root = join(run.buildDirectory, "root");
      execFileSync("mkfifo", [join(root, "gate")]);
      const running = spawner.run(run);
      // Its failure is looked at below.
      running.catch(() => {});
      await untilFile(join(root, "started"), /\n/);
      return { running, end: () => writeFileSync(join(root, "gate"), "\n") };
    };
    const killed = await start();
    const [job = 0] = childrenOf(spawner.processId ?? 0);
    const ended = await start();
    const left = await start();
    process.kill(job, "SIGKILL");
    await assert.rejects(killed.running, /bb_spawn/);
    ended.end();
    assert.equal((await ended.running).exitCode, 0);
    process.kill(spawner.processId ?? 0, "SIGKILL");
    await assert.rejects(left.running, /SIGKILL/);
    assert.equal((await spawner.run(shell(test, "exit 5"))).exitCode, 5);
  });
});

describe("a helper that was stopped", { timeout: 30_000 }, () => {
  it("is killed when the runner ends", async () => {
    const helper = new HelperProcess();
    process.kill(helper.processId ?? 0, "SIGSTOP");
    await helper.close(100);
    assert.ok(helper.hasEnded);
  });
});

describe("a helper that cannot be started", () => {
  it("is the command's failure, and no more", { timeout: 30_000 }, () => {
    const program = `
      import { closeSync, openSync } from "node:fs";
      import { Spawner } from ${JSON.stringify(import.meta.resolve("../../../src/runner/spawn/spawner.ts"))};
          await using spawner = new Spawner();
      const hold = ${JSON.stringify(defaultHold)};
      const taken = [];
      try {
        for (;;) taken.push(openSync("/dev/null"));
      } catch {}
      const failed = await spawner.probe(hold).catch((error) => error.code);
      taken.forEach((fd) => closeSync(fd));
      await spawner.probe(hold);
      console.log(failed);
    `;
    const node = [process.execPath, "--input-type=module", "--eval", program];
    assert.equal(execFileSync("prlimit", ["--nofile=64", ...node], { encoding: "utf8" }), "EMFILE\n");
  });
});

describe("checking paths", () => {
  it("names the first that does not exist", async (test) => {
    const buildDirectory = makeBuildDirectory(test);
    mkdirSync(join(buildDirectory, "a/b"), { recursive: true });
    symlinkSync("/nowhere", join(buildDirectory, "a/dangling"));
    const { signal } = new AbortController();
    await spawner.checkPaths(buildDirectory, "a/b", ["/", "/proc/self"], signal);
    await spawner.checkPaths(buildDirectory, ".", [], signal);
    await spawner.checkPaths(buildDirectory, "a/dangling", [], signal);
    await assert.rejects(
      spawner.checkPaths(buildDirectory, "a/c", [], signal),
      fails("path", "ENOENT", "a/c"),
    );
    await assert.rejects(
      spawner.checkPaths("/no/dir", "a", [], signal),
      fails("build_directory", "ENOENT", "/no/dir"),
    );
    await assert.rejects(
      spawner.checkPaths(buildDirectory, "a/c", ["/no"], signal),
      fails("readiness_path", "ENOENT", "/no"),
    );
  });
});
