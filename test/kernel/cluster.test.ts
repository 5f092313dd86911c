import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, suite, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { create, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { CHROOT_PROPERTY, type Cluster, defaultPools, startCluster } from "../../src/cluster/cluster.ts";
import type { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import { createClient } from "../../src/grpc/client.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import {
  ActionSchema,
  CommandSchema,
  type ExecuteResponse,
  ExecuteResponseSchema,
  Execution,
} from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Digest, makeDigest, SHA256 } from "../../src/reapi/digest.ts";
import { digestMessage } from "../../src/reapi/wire-digest.ts";
import { copyPrograms } from "../unit/runner/root-file-system.ts";

suite("The whole cluster on this kernel", { skip: process.env.IN_KERNEL === undefined }, () => {
  const folder = mkdtempSync(join(tmpdir(), "cluster-"));
  after(() => rmSync(folder, { recursive: true, force: true }));

  test("runs actions of both pools, survives its worker, and leaves nothing behind", async () => {
    const cluster = await startCluster({
      folder: join(folder, "data"),
      listen: "localhost:0",
      pools: defaultPools(1),
      kernel: "this",
    });
    try {
      const root = await importRoot(cluster.storage);
      assert.equal(
        await output(cluster, root, "cat etc/motd; test -e /proc/self/exe && echo this machine", false),
        "hello\nthis machine\n",
      );
      assert.equal(
        await output(cluster, root, "cat /etc/motd; test -e /proc/self/exe || echo alone", true),
        "hello\nalone\n",
      );

      const [worker] = processes("worker/main.ts");
      process.kill(worker!, "SIGKILL");
      while (processes("worker/main.ts").filter((pid) => pid !== worker).length === 0) {
        await setTimeout(20);
      }
      assert.equal(await output(cluster, root, "echo again", true), "again\n");
    } finally {
      await cluster.close();
    }
    assert.deepEqual(processes("bb-cluster-"), []);
    assert.doesNotMatch(readFileSync("/proc/self/mounts", "utf8"), /bb-cluster-/);
    assert.match(await cluster.ended, /exit status 0/);
  });

  test("leaves nothing running when it is killed", async () => {
    const main = join(import.meta.dirname, "../../src/cluster/main.ts");
    const cluster = spawn(
      process.execPath,
      [main, "--data", join(folder, "killed"), "--listen", "localhost:0", "--concurrency", "1"],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    for await (const line of createInterface(cluster.stdout)) {
      if (line.startsWith("Ready")) {
        break;
      }
    }
    assert.notDeepEqual(processes("bb-cluster-"), []);
    cluster.kill("SIGKILL");
    await once(cluster, "exit");
    while (processes("bb-cluster-").length > 0) {
      await setTimeout(20);
    }
  });
});

/** What a shell script prints. */
async function output(cluster: Cluster, root: Digest, script: string, chroot: boolean): Promise<string> {
  const { status, result } = await execute(cluster, root, script, chroot);
  assert.equal(status?.message ?? "", "");
  assert.equal(result?.exitCode, 0);
  const { stdoutRaw, stdoutDigest } = result;
  if (!stdoutDigest) {
    return Buffer.from(stdoutRaw).toString();
  }
  const digest = makeDigest("", SHA256, stdoutDigest.hash, stdoutDigest.sizeBytes);
  return Buffer.from(await cluster.storage.blobs.read(digest)).toString();
}

async function execute(
  { address, storage }: Cluster,
  inputRoot: Digest,
  script: string,
  chroot: boolean,
): Promise<ExecuteResponse> {
  const commandDigest = await storage.putBlob(
    toBinary(CommandSchema, create(CommandSchema, { arguments: ["/bin/sh", "-c", script] })),
  );
  const actionDigest = await storage.putBlob(
    toBinary(
      ActionSchema,
      create(ActionSchema, {
        commandDigest: digestMessage(commandDigest),
        inputRootDigest: digestMessage(inputRoot),
        platform: { properties: chroot ? [CHROOT_PROPERTY] : [] },
        doNotCache: true,
      }),
    ),
  );
  const channel = openChannel({ address });
  try {
    for await (const { done, result } of createClient(Execution, channel).execute({
      actionDigest: digestMessage(actionDigest),
    })) {
      if (done && result.case === "response") {
        return anyUnpack(result.value, ExecuteResponseSchema)!;
      }
    }
    throw new Error("the stream of operations ended without a response");
  } finally {
    channel.close();
  }
}

/** A small root file system with a shell. */
async function importRoot(storage: EmbeddedStorage): Promise<Digest> {
  const root = mkdtempSync(join(tmpdir(), "root-"));
  try {
    copyPrograms(root, ["/bin/sh", "/bin/cat"]);
    mkdirSync(join(root, "etc"));
    writeFileSync(join(root, "etc/motd"), "hello\n");
    return (await storage.importDirectory(root)).digest;
  } finally {
    rmSync(root, { recursive: true });
  }
}

/** Processes whose command line has the text in it. */
function processes(text: string): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(text);
      } catch {
        return false;
      }
    });
}
