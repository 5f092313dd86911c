import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { Command, Hold } from "../../../src/runner/spawn/command.ts";
import { canIsolate, chrootedHold, defaultHold } from "./default-hold.ts";
import { makeBuildDirectory } from "./root-file-system.ts";
import { spawner } from "./spawner.ts";

/** What no bound may take from a command: the work of compilers, package managers, debuggers and terminals. */

const PROGRAMS = ["tar", "su", "gcc", "strace", "gdb", "dpkg", "dpkg-deb", "script"];
const missing = PROGRAMS.filter((name) => !existsSync(`/usr/bin/${name}`));
const skip = !canIsolate
  ? "needs CAP_SYS_ADMIN"
  : missing.length > 0
    ? `needs ${missing.join(", ")}`
    : undefined;
const whenPossible = skip === undefined ? { timeout: 120_000 } : { skip };

/** This machine's file system, whose changes are lost. */
class Machine {
  readonly #scope = new DisposableStack();
  readonly buildDirectory: string;

  constructor() {
    this.buildDirectory = makeBuildDirectory({ after: (work) => void this.#scope.defer(work) });
    chmodSync(this.buildDirectory, 0o755);
    const changes = join(this.buildDirectory, "changes");
    const root = join(this.buildDirectory, "1/root");
    for (const path of [changes, root]) {
      mkdirSync(path, { recursive: true });
    }
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", changes]);
    this.#scope.defer(() => execFileSync("umount", [changes]));
    for (const path of ["upper", "work"]) {
      mkdirSync(join(changes, path));
    }
    const options = `lowerdir=/,upperdir=${changes}/upper,workdir=${changes}/work`;
    execFileSync("mount", ["-t", "overlay", "overlay", "-o", options, root]);
    this.#scope.defer(() => execFileSync("umount", [root]));
    mkdirSync(join(root, "work-here"));
    if (!existsSync(join(root, "dev/null"))) {
      execFileSync("mknod", ["-m", "666", join(root, "dev/null"), "c", "1", "3"]);
    }
  }

  [Symbol.dispose](): void {
    this.#scope.dispose();
  }
}

let count = 0;

for (const [kind, hold] of Object.entries({ chrooted: chrootedHold, "not chrooted": defaultHold })) {
  describe(`a command that is ${kind}`, whenPossible, () => {
    let machine: Machine;
    before(() => {
      machine = new Machine();
    });
    after(() => machine[Symbol.dispose]());

    /** What a shell script says, in an empty folder. */
    const output = async (script: string, changes: Partial<Command> = {}, widened: Partial<Hold> = {}) => {
      const { buildDirectory } = machine;
      const folder = `work-here/${++count}`;
      const path = join(buildDirectory, "1/root", folder);
      mkdirSync(path);
      chmodSync(path, 0o777);
      const { exitCode } = await spawner.run({
        hold: { ...hold, ...widened },
        buildDirectory,
        inputRootDirectory: "1/root",
        temporaryDirectory: "",
        workingDirectory: folder,
        stdoutPath: `1/${count}.out`,
        stderrPath: `1/${count}.err`,
        cgroup: undefined,
        credentials: undefined,
        limits: [],
        maximumProcessesOfUser: 4096,
        arguments: ["sh", "-ec", script],
        environment: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/work-here", LC_ALL: "C" },
        ...changes,
      });
      const errors = readFileSync(join(buildDirectory, `1/${count}.err`), "utf8");
      assert.equal(exitCode, 0, errors);
      return readFileSync(join(buildDirectory, `1/${count}.out`), "utf8");
    };
    const credentials = { userId: 1234, groupId: 2345, additionalGroupIds: [] };

    it("unpacks archives with owners, modes, links and fifos", async () => {
      const script = `
        mkdir a; touch a/f; chown 1234:2345 a/f; chmod 4755 a/f; ln a/f a/hard; mkfifo a/fifo;
        tar cf a.tar a; mkdir b; tar xf a.tar -C b --same-owner; stat -c '%n %u %g %a %h' b/a/f b/a/hard; stat -c %F b/a/fifo`;
      assert.equal(await output(script), "b/a/f 1234 2345 4755 2\nb/a/hard 1234 2345 4755 2\nfifo\n");
    });

    it("takes other users by su and set-user-ID programs", async () => {
      assert.equal(await output("su nobody -s /bin/sh -c 'id -un'"), "nobody\n");
      const asUser = "id -u; ../id -u";
      await output("cp /usr/bin/id ../id; chmod 4755 ../id");
      assert.equal(await output(asUser, { credentials }), "1234\n0\n");
    });

    it("compiles, links and runs", async () => {
      const script = `
        printf '#include <pthread.h>\\n#include <stdio.h>\\nvoid *f(void *x) { return x; }\\nint main(void) { pthread_t t; void *r; pthread_create(&t, 0, f, "ran"); pthread_join(t, &r); return puts(r) < 0; }' > a.c
        gcc -O1 -pthread a.c -o a; ./a`;
      for (const changes of [{}, { credentials }]) {
        assert.equal(await output(script, changes), "ran\n");
      }
    });

    it("traces and debugs its own programs", async () => {
      for (const changes of [{}, { credentials }]) {
        const traced = await output(
          "strace -f -e trace=execve -o log sh -c 'true; /bin/echo hello'; grep -c execve log",
          changes,
        );
        assert.equal(traced, "hello\n2\n");
      }
      const script = `
        printf 'int main(void) {\\n  volatile int x = 42;\\n  int y = x;\\n  return y - 42;\\n}\\n' > a.c; gcc -g a.c -o a
        gdb -q -batch -ex 'break main' -ex run -ex next -ex 'print x' ./a 2>/dev/null | grep '^[$]'`;
      assert.equal(await output(script), "$1 = 42\n");
    });

    it("has terminals", async () => {
      const said = await output("script -qec 'test -t 0 && tty' /dev/null </dev/null | tr -d '\\r'");
      assert.equal(said, "/dev/pts/0\n");
    });

    it("asks its own PID namespace's /proc", async () => {
      assert.equal(await output("ps -e -o comm= | sort | uniq | grep -cE '^(node|systemd)$' || :"), "0\n");
      const script =
        "readlink /proc/self/exe; test $(wc -l < /proc/$$/maps) -gt 3; nproc >/dev/null; head -1 /proc/meminfo";
      assert.match(await output(script), /^\/usr\/bin\/readlink\nMemTotal: /);
    });

    it("installs packages", {
      skip: kind === "chrooted" ? false : "the machine's files are read-only",
    }, async () => {
      const script = `
        mkdir -p p/DEBIAN p/usr/share/bb-test p/usr/bin; echo content > p/usr/share/bb-test/file
        printf '#!/bin/sh\\necho installed\\n' > p/usr/bin/bb-test; chmod 755 p/usr/bin/bb-test
        printf 'Package: bb-test\\nVersion: 1\\nArchitecture: all\\nMaintainer: x <x@example.com>\\nDescription: x\\n' > p/DEBIAN/control
        printf '#!/bin/sh\\nchown 1234 /usr/share/bb-test/file\\nldconfig\\n' > p/DEBIAN/postinst; chmod 755 p/DEBIAN/postinst
        dpkg-deb -b p bb-test.deb >/dev/null; dpkg -i bb-test.deb >/dev/null
        bb-test; stat -c %u /usr/share/bb-test/file; dpkg -r bb-test >/dev/null; test ! -e /usr/bin/bb-test`;
      assert.equal(await output(script), "installed\n1234\n");
    });
  });
}
