import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { type Command, HelperError, type Hold } from "../../../src/runner/spawn/command.ts";
import { canIsolate, chrootedHold, defaultHold } from "./default-hold.ts";
import { copyPrograms, makeBuildDirectory } from "./root-file-system.ts";
import { spawner } from "./spawner.ts";

const whenIsolated = canIsolate ? { timeout: 60_000 } : { skip: "needs CAP_SYS_ADMIN" };

/** A build directory with the folders of an action, "1", and of a neighbour, "2". */
function makeNeighbours(test: TestContext): string {
  const buildDirectory = makeBuildDirectory(test);
  for (const path of ["1/root", "1/tmp", "2/root"]) {
    mkdirSync(join(buildDirectory, path), { recursive: true });
  }
  return buildDirectory;
}

/** What a shell script says, as "1". */
async function output(
  buildDirectory: string,
  script: string,
  hold: Partial<Hold> = {},
  changes: Partial<Command> = {},
): Promise<string> {
  const name = `${Math.random()}`;
  const { exitCode } = await spawner.run({
    hold: { ...defaultHold, ...hold },
    buildDirectory,
    inputRootDirectory: "1/root",
    temporaryDirectory: "1/tmp",
    workingDirectory: "",
    stdoutPath: `1/${name}`,
    stderrPath: `1/${name}.err`,
    cgroup: undefined,
    credentials: undefined,
    limits: [],
    maximumProcessesOfUser: undefined,
    arguments: ["sh", "-c", script],
    environment: { PATH: "/usr/bin:/bin" },
    ...changes,
  });
  assert.equal(exitCode, 0, readFileSync(join(buildDirectory, `1/${name}.err`), "utf8"));
  return readFileSync(join(buildDirectory, `1/${name}`), "utf8");
}

/** 0 or 1 for each, as to whether a command succeeds. */
const tries = (...commands: string[]) =>
  commands.map((command) => `(${command}) 2>/dev/null; echo $?`).join("; ");

describe("a command that is not chrooted", whenIsolated, () => {
  it("sees of the build directory its own folder, under its own path", async (test) => {
    const buildDirectory = makeNeighbours(test);
    const script = `ls ${buildDirectory}; pwd; touch made ../tmp/made; ls ..; ${tries(`touch ${buildDirectory}/x`)}`;
    const said = (await output(buildDirectory, script)).split("\n").filter((line) => !line.startsWith("0."));
    assert.deepEqual(said, ["1", `${buildDirectory}/1/root`, "root", "tmp", "1", ""]);
    assert.ok(
      existsSync(join(buildDirectory, "1/root/made")) && existsSync(join(buildDirectory, "1/tmp/made")),
    );
  });

  it("sees all of the build directory if that is its input root", async (test) => {
    const buildDirectory = makeNeighbours(test);
    const changes = { inputRootDirectory: "", temporaryDirectory: "" };
    assert.equal(await output(buildDirectory, "ls; touch made", {}, changes), "1\n2\n");
  });

  it("can write to temporary directories and where it is let, and nowhere else", async (test) => {
    const buildDirectory = makeNeighbours(test);
    // Not below /tmp.
    const folder = mkdtempSync("/var/lib/bb-writable-");
    test.after(() => rmSync(folder, { recursive: true }));
    const name = `bb-${process.pid}`;
    const script = tries(
      `touch /tmp/${name} && rm /tmp/${name}`,
      `touch /var/tmp/${name} && rm /var/tmp/${name}`,
      `touch ${folder}/x`,
      `mkdir /${name}`,
    );
    assert.equal(await output(buildDirectory, script), "0\n0\n1\n1\n");
    const writablePaths = [...defaultHold.writablePaths, folder, "/no/such/path"];
    assert.equal(await output(buildDirectory, script, { writablePaths }), "0\n0\n0\n1\n");
    const anywhere = await output(buildDirectory, `${script}; rmdir /${name}`, { writablePaths: ["/"] });
    assert.equal(anywhere, "0\n0\n0\n0\n");
    const mounted = await output(buildDirectory, "cat /proc/self/mountinfo", { writablePaths: ["/"] });
    assert.match(mounted, / \/sys ro,/);
  });

  it("has the usual devices, others by name, and none that it finds elsewhere", async (test) => {
    const buildDirectory = makeNeighbours(test);
    const usual = "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero";
    assert.equal(await output(buildDirectory, "echo $(ls /dev)"), `${usual}\n`);
    if (existsSync("/dev/net/tun")) {
      const devices = ["/dev/net/tun"];
      assert.equal(await output(buildDirectory, "echo $(ls /dev/net)", { devices }), "tun\n");
    }
    // One place that commands can write to, and one that they cannot.
    for (const parent of ["/var/tmp", "/var/lib"]) {
      const elsewhere = mkdtempSync(join(parent, "bb-devices-"));
      test.after(() => rmSync(elsewhere, { recursive: true }));
      execFileSync("mknod", [join(elsewhere, "zero"), "c", "1", "5"]);
      const script = tries(
        `head -c 1 ${elsewhere}/zero | wc -c | grep -q 1`,
        "head -c 1 /dev/zero | wc -c | grep -q 1",
      );
      assert.equal(await output(buildDirectory, script), "1\n0\n");
    }
  });

  it("reaches neither hidden sockets nor hidden folders", async (test) => {
    const buildDirectory = makeNeighbours(test);
    const folder = mkdtempSync("/var/tmp/bb-socket-");
    const socket = join(folder, "socket");
    const server = createServer((connection) => connection.end("reached")).listen(socket);
    test.after(() => {
      server.close();
      rmSync(folder, { recursive: true });
    });
    await once(server, "listening");
    const perl = `perl -MIO::Socket::UNIX -e '$s = IO::Socket::UNIX->new("${socket}") or exit 1; print <$s>'`;
    assert.equal(await output(buildDirectory, tries(perl)), "reached0\n");
    assert.equal(await output(buildDirectory, tries(perl), { hiddenPaths: [socket, "/no/such"] }), "1\n");
    assert.equal(await output(buildDirectory, `ls ${folder}`, { hiddenPaths: [folder] }), "");
  });

  it("cannot see the machine's processes in another /proc", async (test) => {
    const buildDirectory = makeNeighbours(test);
    const other = mkdtempSync("/var/tmp/bb proc-");
    execFileSync("mount", ["-t", "proc", "proc", other]);
    test.after(() => {
      execFileSync("umount", [other]);
      rmSync(other, { recursive: true });
    });
    assert.equal(await output(buildDirectory, `ls '${other}' | wc -l`), "0\n");
  });

  it("has the machine's name, or another", async (test) => {
    const buildDirectory = makeNeighbours(test);
    assert.equal(await output(buildDirectory, "uname -n"), `${hostname()}\n`);
    assert.equal(await output(buildDirectory, "uname -n", { hostName: "builder" }), "builder\n");
    assert.equal(hostname(), execFileSync("uname", ["-n"], { encoding: "utf8" }).trim());
  });

  it("has a loopback of its own if it shall", async (test) => {
    const buildDirectory = makeNeighbours(test);
    const server = createServer().listen(0, "127.0.0.1");
    test.after(() => server.close());
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const script = `${tries(`bash -c 'echo > /dev/tcp/127.0.0.1/${port}'`)}; tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '`;
    assert.match(await output(buildDirectory, script), /^0\n/);
    assert.equal(await output(buildDirectory, script, { ownNetwork: true }), "1\nlo\n");
    const own = `perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1") or exit 1;
      IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport) or exit 2; print "connected"'`;
    assert.equal(await output(buildDirectory, own, { ownNetwork: true }), "connected");
  });
});

describe("a chrooted command", whenIsolated, () => {
  /** A root with a shell and some programs, and these folders. */
  const makeRoot = (test: TestContext, ...folders: string[]) => {
    const buildDirectory = makeNeighbours(test);
    const root = join(buildDirectory, "1/root");
    for (const path of folders) {
      mkdirSync(join(root, path), { recursive: true });
    }
    copyPrograms(root, [
      "/bin/sh",
      "/bin/ls",
      "/bin/cat",
      "/bin/readlink",
      "/bin/stat",
      "/usr/bin/head",
      "/usr/bin/wc",
    ]);
    return { buildDirectory, root };
  };

  it("has a /proc and a whole /dev, of which nothing is left", async (test) => {
    const { buildDirectory, root } = makeRoot(test, "proc", "dev/sub");
    execFileSync("mknod", ["-m", "666", join(root, "dev/null"), "c", "1", "3"]);
    writeFileSync(join(root, "dev/sub/file"), "of the root");
    const script =
      "echo $(ls /dev); cat /dev/sub/file; echo; echo $$ $(readlink /proc/self/exe); echo gone >/dev/null; " +
      "echo said >>/dev/stdout; echo x >/dev/shm/x; cat /dev/shm/x; stat -c %a /dev/shm /dev/ptmx /dev/pts/ptmx; echo kept >/dev/sub/made";
    const names = "fd null ptmx pts shm stderr stdin stdout sub";
    const said = await output(buildDirectory, script, chrootedHold);
    assert.equal(said, `${names}\nof the root\n2 /bin/readlink\nsaid\nx\n1777\n777\n666\n`);
    assert.deepEqual(
      execFileSync("ls", [join(root, "dev"), join(root, "proc")], { encoding: "utf8" }).split("\n"),
      [`${join(root, "dev")}:`, "null", "sub", "", `${join(root, "proc")}:`, ""],
    );
    assert.equal(readFileSync(join(root, "dev/sub/made"), "utf8"), "kept\n");
  });

  it("has neither where its root has no place for it, or the settings say so", async (test) => {
    const { buildDirectory } = makeRoot(test);
    assert.equal(await output(buildDirectory, "echo $(ls /)", chrootedHold), "bin lib lib64 usr\n");
    const other = makeRoot(test, "proc", "dev");
    const hold = { ...chrootedHold, mountProc: false };
    assert.equal(await output(other.buildDirectory, "ls /proc /dev | wc -w", hold), "2\n");
  });

  it("does not follow links of its root to the machine's folders", async (test) => {
    const { buildDirectory, root } = makeRoot(test);
    execFileSync("ln", ["-s", "/", join(root, "proc")]);
    execFileSync("ln", ["-s", "/etc", join(root, "dev")]);
    assert.equal(await output(buildDirectory, "readlink /proc /dev", chrootedHold), "/\n/etc\n");
  });
});

describe("an isolated command", whenIsolated, () => {
  it("has a session keyring of its own, not the runner's", async (test) => {
    const folder = makeBuildDirectory(test);
    const buildDirectory = makeNeighbours(test);
    const program = join(buildDirectory, "1/root/keys");
    // With arguments: executes them in a session that has the key. Else: says whether its own has it.
    writeFileSync(
      join(folder, "keys.c"),
      `#include <stdio.h>
       #include <sys/syscall.h>
       #include <unistd.h>
       int main(int count, char **arguments) {
         if (count > 1 && (syscall(SYS_keyctl, 1, NULL) < 0 || syscall(SYS_add_key, "user", "secret", "x", 1, -3) < 0))
           return 1;
         if (count > 1)
           return execv(arguments[1], arguments + 1);
         printf("%d\\n", syscall(SYS_keyctl, 10, -3, "user", "secret", 0) >= 0);
         return 0;
       }`,
    );
    execFileSync("cc", ["-static", "-o", program, join(folder, "keys.c")]);
    assert.equal(execFileSync(program, [program], { encoding: "utf8" }), "1\n");
    const command: Command = {
      hold: { ...defaultHold, systemCalls: ["keys"] },
      buildDirectory,
      inputRootDirectory: "1/root",
      temporaryDirectory: "",
      workingDirectory: "",
      stdoutPath: "1/stdout",
      stderrPath: "1/stderr",
      cgroup: undefined,
      credentials: undefined,
      limits: [],
      maximumProcessesOfUser: undefined,
      arguments: ["./keys"],
      environment: {},
    };
    const runner = `import { Spawner } from ${JSON.stringify(import.meta.resolve("../../../src/runner/spawn/spawner.ts"))};
          await using spawner = new Spawner();
      await spawner.run(${JSON.stringify(command)});`;
    execFileSync(program, [process.execPath, "--input-type=module", "--eval", runner]);
    assert.equal(readFileSync(join(buildDirectory, "1/stdout"), "utf8"), "0\n");
  });

  it("says what of its confinement failed", async (test) => {
    const buildDirectory = makeNeighbours(test);
    const nowhere = output(buildDirectory, "true", {}, { cgroup: "/no/such/cgroup" });
    await assert.rejects(nowhere, (error: unknown) => {
      assert.ok(error instanceof HelperError);
      assert.deepEqual([error.stage, error.code, error.subject], ["cgroup", "ENOENT", "/no/such/cgroup"]);
      return true;
    });
  });

  it("of another user owns what it makes", async (test) => {
    const buildDirectory = makeNeighbours(test);
    chmodSync(buildDirectory, 0o755);
    chownSync(join(buildDirectory, "1/root"), 1234, 2345);
    const credentials = { userId: 1234, groupId: 2345, additionalGroupIds: [] };
    await output(buildDirectory, "touch made", {}, { credentials });
    const { uid, gid } = statSync(join(buildDirectory, "1/root/made"));
    assert.deepEqual([uid, gid], [1234, 2345]);
  });
});
