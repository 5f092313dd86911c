import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { setTimeout as delay } from "node:timers/promises";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { isMounted } from "../../src/mount/index.ts";
import type { ExecuteResponse } from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../src/proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../../src/proto/gen/google/rpc/error_details_pb.ts";
import { Program } from "./program.ts";
import { WorkerCluster } from "./worker-cluster.ts";

const inKernel = process.env.IN_KERNEL ? {} : { skip: "run it by npm run in-kernel" };

async function until<T>(condition: () => T): Promise<NonNullable<T>> {
  for (;;) {
    const value = condition();
    if (value) {
      return value;
    }
    await delay(20);
  }
}

/** Its argument is how the tests find processes that were left behind. */
const endless = "sleep 98765";

function leftBehind(): string[] {
  return readdirSync("/proc").filter((pid) => {
    if (!/^\d+$/.test(pid)) {
      return false;
    }
    try {
      return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("98765");
    } catch {
      return false;
    }
  });
}

async function assertNothingLeft(): Promise<void> {
  for (let waited = 0; leftBehind().length > 0; waited += 50) {
    assert.ok(waited < 10_000, `processes ${leftBehind()} are left behind`);
    await delay(50);
  }
}

function endsWith(response: ExecuteResponse, code: Code, message: RegExp): void {
  assert.equal(response.status?.code, code, response.status?.message);
  assert.match(response.status!.message, message);
}

describe("worker", inKernel, () => {
  let cluster: WorkerCluster;
  /** Blobs, by their hash, that storage never answers for; stops half-way in; tells of being read. */
  const hanging = new Set<string>();
  const stopping = new Set<string>();
  const onRead = new Map<string, () => void>();
  const cleanUp: (() => unknown)[] = [];
  before(async () => {
    cluster = await WorkerCluster.start(
      { after: (work: () => unknown) => void cleanUp.push(work) },
      {
        runnerSettings: { maximumFilePoolSizeBytes: 1 << 20 },
        server: {
          onRead: ({ hash }, offset) => {
            onRead.get(hash)?.();
            const silent = hanging.has(hash) || (stopping.has(hash) && offset >= 3 << 20);
            return silent ? new Promise(() => {}) : undefined;
          },
        },
      },
    );
    await cluster.ready();
  });
  after(async () => {
    for (const work of cleanUp) {
      await work();
    }
  });

  /** What follows a fault: the worker takes the next action, and nothing is left. */
  const goesOn = async () => {
    await assertNothingLeft();
    const response = await cluster.run({ script: "cat /etc/motd" });
    assert.equal(response.status, undefined, response.status?.message);
    assert.equal(await cluster.text(response.result?.stdoutDigest), "hello from the CAS\n");
  };

  it("runs a chrooted action and brings its outputs back", async () => {
    const response = await cluster.run({
      script:
        "cat /etc/motd; mkdir -p out/d; cp /etc/motd out/d/copy; ln -s d/copy out/link; echo made > made; chmod +x made; echo oops >&2; exit 3",
      command: { outputPaths: ["out", "made", "/etc/nothing".slice(1)] },
    });
    assert.equal(response.status, undefined, response.status?.message);
    const result = response.result!;
    assert.equal(result.exitCode, 3);
    assert.equal(await cluster.text(result.stdoutDigest), "hello from the CAS\n");
    assert.equal(await cluster.text(result.stderrDigest), "oops\n");
    const [file] = result.outputFiles;
    assert.deepEqual(
      [file?.path, file?.isExecutable, await cluster.text(file?.digest)],
      ["made", true, "made\n"],
    );
    assert.deepEqual(
      result.outputDirectories.map(({ path }) => path),
      ["out"],
    );
    assert.deepEqual(
      result.executionMetadata!.auxiliaryMetadata.map(({ typeUrl }) => typeUrl.split(".").at(-1)),
      ["POSIXResourceUsage", "CgroupResourceUsage", "FilePoolResourceUsage"],
    );
  });

  it("gives actions devices that are right and work", async () => {
    const response = await cluster.run({
      script: `
        cd /dev; stat -c '%n %F %t %T %a' full null random tty urandom zero
        echo gone > null && cat null | wc -c
        head -c 5 zero | wc -c; head -c 7 urandom | wc -c; head -c 3 random | wc -c
        (cat /etc/motd > full) 2>&1
      `,
    });
    const text = await cluster.text(response.result?.stdoutDigest);
    const devices = { full: "1 7", null: "1 3", random: "1 8", tty: "5 0", urandom: "1 9", zero: "1 5" };
    const lines = Object.entries(devices).map(
      ([name, numbers]) => `${name} character special file ${numbers} 666`,
    );
    assert.deepEqual(text.split("\n").slice(0, 10), [...lines, "0", "5", "7", "3"]);
    assert.match(text, /No space left on device/);
  });

  describe("when something goes wrong", () => {
    it("ends with FAILED_PRECONDITION naming a blob that is missing", async () => {
      const { inputRoot, file } = await cluster.rootWith("lost", Buffer.from("to be lost"));
      await cluster.server.storage.blobs.delete(file);
      const response = await cluster.run({ inputRoot, script: `cat lost; ${endless}` });
      endsWith(response, Code.FAILED_PRECONDITION, new RegExp(file.hash));
      const failure = anyUnpack(response.status!.details[0]!, PreconditionFailureSchema);
      assert.deepEqual(
        failure?.violations.map(({ type, subject }) => [type, subject]),
        [["MISSING", `blobs/${file.hash}/${file.sizeBytes}`]],
      );
      await goesOn();
    });

    it("ends with the storage's status when it stops answering", async () => {
      const { inputRoot, file } = await cluster.rootWith("hangs", Buffer.from("never comes"));
      hanging.add(file.hash);
      const response = await cluster.run({ inputRoot, script: `cat hangs; ${endless}` });
      endsWith(response, Code.DEADLINE_EXCEEDED, new RegExp(file.hash));
      await goesOn();
    });

    it("ends with DEADLINE_EXCEEDED when it runs too long, with what it wrote so far", async () => {
      const response = await cluster.run({
        script: `echo begun; ${endless}`,
        action: { timeout: { seconds: 1n } },
      });
      endsWith(response, Code.DEADLINE_EXCEEDED, /timeout of 1 s/);
      assert.equal(await cluster.text(response.result?.stdoutDigest), "begun\n");
      await goesOn();
    });

    it("ends with DEADLINE_EXCEEDED when it waits in the kernel for a file that stops half-way", async () => {
      const { inputRoot, file } = await cluster.rootWith("stops", Buffer.alloc(6 << 20, 1));
      stopping.add(file.hash);
      const response = await cluster.run({
        inputRoot,
        script: `cat stops > /dev/null; ${endless}`,
        action: { timeout: { seconds: 2n } },
      });
      endsWith(response, Code.DEADLINE_EXCEEDED, /timeout of 2 s/);
      await goesOn();
    });

    it("exits with 127 when there is no such command", async () => {
      const response = await cluster.run({ command: { arguments: ["no-such-command"] } });
      assert.equal(response.status?.code ?? Code.OK, Code.OK, response.status?.message);
      assert.equal(response.result?.exitCode, 127);
      await goesOn();
    });

    it("ends with INVALID_ARGUMENT when it writes more than its quota", async () => {
      const response = await cluster.run({ script: `dd if=/dev/zero of=file bs=4096 count=512; ${endless}` });
      endsWith(response, Code.INVALID_ARGUMENT, /quota/);
      await goesOn();
    });

    it("fails none that runs beside it when it exceeds its quota", async () => {
      const exceed = async () => {
        for (let time = 0; time < 3; time++) {
          const response = await cluster.run({
            script: "for i in 1 2 3 4 5 6 7 8; do dd if=/dev/zero of=file bs=65536 count=32; done",
          });
          endsWith(response, Code.INVALID_ARGUMENT, /quota/);
        }
      };
      const exceeding = exceed();
      let ended = false;
      exceeding
        .catch(() => {})
        .finally(() => {
          ended = true;
        });
      while (!ended) {
        const response = await cluster.run({ script: "echo fine >out; cat out" });
        assert.equal(response.status, undefined, response.status?.message);
        assert.equal(await cluster.text(response.result?.stdoutDigest), "fine\n");
      }
      await exceeding;
    });

    it("is killed when nobody wants its result any more", async () => {
      const abort = new AbortController();
      const { inputRoot, file } = await cluster.rootWith("seen", Buffer.from("read by the action"));
      const seen = Promise.withResolvers<void>();
      onRead.set(file.hash, seen.resolve);
      const run = cluster.run({ inputRoot, script: `cat seen; ${endless}`, signal: abort.signal });
      run.catch(() => {});
      await seen.promise;
      abort.abort();
      await assert.rejects(run);
      await goesOn();
    });

    it("ends with UNAVAILABLE when the runner dies, and goes on when there is one again", async () => {
      const { inputRoot, file } = await cluster.rootWith("seen", Buffer.from("read before the runner dies"));
      const seen = Promise.withResolvers<void>();
      onRead.set(file.hash, seen.resolve);
      const run = cluster.run({ inputRoot, script: `cat seen; ${endless}` });
      await seen.promise;
      await cluster.runner.end("SIGKILL");
      endsWith(await run, Code.UNAVAILABLE, /./);
      await cluster.startRunner();
      await goesOn();
    });
  });
});

describe("worker that shall stop", inKernel, () => {
  it("finishes eight running actions, unmounts, and exits with 0", async (test) => {
    const cluster = await WorkerCluster.start(test, { concurrency: 8 });
    await cluster.ready();
    const { inputRoot, running } = await startEight(cluster);
    void inputRoot;
    const exit = cluster.worker.end("SIGTERM");
    for (const response of await Promise.all(running)) {
      assert.equal(response.status, undefined, response.status?.message);
      assert.equal(response.result?.exitCode, 0);
    }
    assert.equal(await exit, 0);
    assert.equal(isMounted(cluster.mountPath), false);
    assert.ok(!cluster.worker.lines.some((line) => line.includes("was lost")));
  });

  it("hands them back when it has no time, unmounts, and exits with 0", async (test) => {
    const cluster = await WorkerCluster.start(test, {
      concurrency: 8,
      environment: { BB_WORKER_GRACE_SECONDS: "0" },
    });
    await cluster.ready();
    const { running } = await startEight(cluster, endless);
    assert.equal(await cluster.worker.end("SIGTERM"), 0);
    for (const response of await Promise.all(running)) {
      endsWith(response, Code.UNAVAILABLE, /shutting down/);
    }
    assert.equal(isMounted(cluster.mountPath), false);
    await assertNothingLeft();
  });

  it("serves those who still use the mount in a mount namespace of their own until they are done", async (test) => {
    const cluster = await WorkerCluster.start(test, { environment: { BB_WORKER_GRACE_SECONDS: "0" } });
    await cluster.ready();
    cluster.run({ script: `echo written > /file; ${endless}` }).catch(() => {});
    const isSleeping = (pid: string) => readFileSync(`/proc/${pid}/comm`, "latin1") === "sleep\n";
    const command = await until(() => leftBehind().find(isSleeping));
    // By the command's own mount, which this one's is not.
    const user = new Program(
      ["sh", "-c", 'exec 3< "$0"; echo open >&2; read _; echo closed >&2', `/proc/${command}/root/file`],
      {
        input: "pipe",
      },
    );
    await user.line(/open/);
    const exit = cluster.worker.end("SIGTERM");
    await until(() => !isMounted(cluster.mountPath));
    user.process.stdin!.end("\n");
    await user.line(/closed/);
    assert.equal(await user.exit(), 0);
    assert.equal(await exit, 0);
    assert.ok(!cluster.worker.lines.some((line) => line.includes("will hang")));
  });

  it("leaves no mount behind when it is killed, and can be started again", async (test) => {
    const cluster = await WorkerCluster.start(test, { concurrency: 8 });
    await cluster.ready();
    const { running } = await startEight(cluster, endless);
    for (const run of running) {
      run.catch(() => {});
    }
    const killed = performance.now();
    await cluster.worker.end("SIGKILL");
    while (isMounted(cluster.mountPath)) {
      assert.ok(performance.now() - killed < 5000, "the mount is gone within 5 s");
      await delay(50);
    }
    cluster.startWorker();
    await cluster.worker.line(/ready for work/);
    await assertNothingLeft();
  });

  it("because its mount helper has ended hands back, unmounts, and exits with 1", async (test) => {
    const cluster = await WorkerCluster.start(test, { concurrency: 8 });
    await cluster.ready();
    const { running } = await startEight(cluster, endless);
    process.kill(cluster.mountHelper, "SIGKILL");
    await cluster.worker.line(/a build directory or the storage was lost.*the mount helper has ended/);
    for (const response of await Promise.all(running)) {
      endsWith(response, Code.UNAVAILABLE, /shutting down/);
    }
    assert.equal(await cluster.worker.exit(), 1);
    assert.equal(isMounted(cluster.mountPath), false);
    await assertNothingLeft();
  });

  it("because somebody has unmounted the build directory exits with 1", async (test) => {
    const cluster = await WorkerCluster.start(test);
    await cluster.ready();
    execFileSync("umount", ["--lazy", cluster.mountPath]);
    await cluster.worker.line(/a build directory or the storage was lost.*somebody has unmounted it/);
    assert.equal(await cluster.worker.exit(), 1);
    assert.equal(isMounted(cluster.mountPath), false);
  });

  /** Eight actions that are known to run. */
  async function startEight(cluster: WorkerCluster, script = "sleep 2") {
    const { inputRoot } = await cluster.rootWith("seen", Buffer.from("read by eight"));
    const running = Array.from({ length: 8 }, (_, index) =>
      cluster.run({ inputRoot, script: `: ${index}; ${script}` }),
    );
    while (cluster.server.queue.statistics().executing < 8) {
      await delay(50);
    }
    return { inputRoot, running };
  }
});

describe("worker with read-only inputs, hidden files and shuffled listings", inKernel, () => {
  it("has actions see them so, and takes the outputs without what is hidden", async (test) => {
    const cluster = await WorkerCluster.start(test, {
      virtual: {
        bbWorkerNfs4: { inputsReadOnly: true },
        hiddenFilesPattern: "^hidden",
        shuffleDirectoryListings: true,
      },
    });
    await cluster.ready();
    const { digest: inputRoot } = await cluster.rootWithEntries(
      Array.from({ length: 40 }, (_, index) => ({
        path: `many/${index}`,
        type: "file" as const,
        isExecutable: false,
        content: Buffer.from("x"),
      })),
    );
    const script = `
      for change in 'echo more >> etc/motd' ': > etc/motd' 'chmod 777 etc/motd'; do
        (eval "$change") 2>/dev/null && echo "did $change"
      done
      cat etc/motd; echo own > etc/own; cat etc/own
      mkdir out; echo 1 > out/hidden1; echo 2 > out/seen; ls out; cat out/hidden1
      ls -U many > listed; ls many | wc -l`;
    const run = () => cluster.run({ inputRoot, script, command: { outputPaths: ["out", "listed"] } });
    const [first, second] = [await run(), await run()];
    assert.equal(
      await cluster.text(first.result?.stdoutDigest),
      "hello from the CAS\nown\nseen\n1\n40\n",
      await cluster.text(first.result?.stderrDigest),
    );
    const tree = await cluster.text(first.result?.outputDirectories[0]?.treeDigest);
    assert.ok(tree.includes("seen") && !tree.includes("hidden"));
    const [one, other] = await Promise.all(
      [first, second].map(({ result }) => cluster.text(result?.outputFiles[0]?.digest)),
    );
    assert.notEqual(one, other);
    assert.deepEqual(one!.split("\n").toSorted(), other!.split("\n").toSorted());
  });
});

describe("worker and runner in different mount namespaces", inKernel, () => {
  it("runs actions when the runner sees the mount, which is made after both have started", async (test) => {
    const cluster = await WorkerCluster.start(test, { runnerNamespace: "slave" });
    await cluster.ready();
    const response = await cluster.run({ script: "cat /etc/motd" });
    assert.equal(await cluster.text(response.result?.stdoutDigest), "hello from the CAS\n");
  });

  it("takes no action while the runner does not see it, and says so", async (test) => {
    const cluster = await WorkerCluster.start(test, { runnerNamespace: "private" });
    await cluster.worker.line(/cannot take work: .*INTERNAL.*not propagated/);
    assert.equal(cluster.server.queue.statistics().workers, 0);
  });
});
