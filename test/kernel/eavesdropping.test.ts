import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, describe, it } from "node:test";
import { compile } from "./mounted-file-systems.ts";
import { WorkerCluster } from "./worker-cluster.ts";

const inKernel = process.env.IN_KERNEL ? { timeout: 300_000 } : { skip: "run it by npm run in-kernel" };

/** Makes calls of the NFS server. */
const filesWritten = "for name in 1 2 3 4; do echo x > $name; done; ls -l /etc";

describe("the NFS server of a build directory", inKernel, () => {
  const scope = new AsyncDisposableStack();
  let cluster: WorkerCluster;
  let eavesdrop: string;
  let port: string;
  /** In front of a command: has it run where the server is. */
  let enter: readonly string[];

  before(async () => {
    const folder = mkdtempSync(join(tmpdir(), "eavesdropping-"));
    scope.defer(() => rmSync(folder, { recursive: true }));
    eavesdrop = await compile(folder, "eavesdrop", ["eavesdrop.c"]);
    cluster = await WorkerCluster.start({ after: (work: () => Promise<void>) => scope.defer(work) });
    await cluster.ready();
    [, port = ""] = /port=(\d+)/.exec(await cluster.worker.line(/mounted a build directory/))!;
    enter = ["nsenter", "--net", "--target", String(cluster.mountHelper)];
  });
  after(() => scope.disposeAsync());

  /** What root learns outside of any action, while one writes files. */
  const eavesdropFrom = async (prefix: readonly string[]) => {
    const [file = "", ...rest] = [...prefix, eavesdrop, port, "cat"];
    const eavesdropper = spawn(file, rest, { stdio: ["pipe", "pipe", "inherit"] });
    const [begun] = await once(eavesdropper.stdout, "data");
    const response = await cluster.run({ script: filesWritten });
    assert.equal(response.result?.exitCode, 0, response.status?.message);
    eavesdropper.stdin.end();
    return report(begun + (await text(eavesdropper.stdout)));
  };

  it("is neither heard, seen nor reached by root in the network namespace that worker and runner have", async () => {
    const { "NFS calls": calls, ...others } = await eavesdropFrom(enter);
    assert.deepEqual(others, { capture: "yes", "own datagram": "1", sockets: "2", connect: "0" });
    assert.ok(Number(calls) > 0, "where the server is, its calls are heard");
    assert.deepEqual(await eavesdropFrom([]), {
      capture: "yes",
      "own datagram": "1",
      "NFS calls": "0",
      sockets: "0",
      connect: "ECONNREFUSED",
    });
    assert.ok(!listeningPorts("/proc/net/tcp").includes(Number(port)));
  });

  it("is neither heard, seen nor reached by an action that is root", async () => {
    const { inputRoot } = await cluster.rootWith("eavesdrop", readFileSync(eavesdrop), true);
    const script = `/eavesdrop ${port} sh -c '${filesWritten}' > report`;
    const response = await cluster.run({ inputRoot, script, command: { outputPaths: ["report"] } });
    assert.equal(response.result?.exitCode, 0, await cluster.text(response.result?.stderrDigest));
    const found = report(await cluster.text(response.result.outputFiles[0]?.digest));
    assert.deepEqual([found["NFS calls"], found.sockets, found.connect], ["0", "0", "ECONNREFUSED"]);
  });

  it("shows nothing to whoever is in its network namespace", async () => {
    const unprivileged = `exec 3<>/dev/tcp/127.0.0.1/${port} && cat <&3 | wc -c`;
    const [file = "", ...rest] = [...enter, "bash", "-c", unprivileged];
    assert.equal(execFileSync(file, rest, { encoding: "utf8" }), "0\n");

    const elsewhere = mkdtempSync(join(tmpdir(), "elsewhere-"));
    const options = `vers=4.2,addr=127.0.0.1,clientaddr=127.0.0.1,port=${port}`;
    const mount = (path: string) => {
      const [file = "", ...rest] = [...enter, "mount", "-i", "-t", "nfs4", "-o", options, path, elsewhere];
      execFileSync(file, rest);
    };
    mount("127.0.0.1:/");
    assert.deepEqual(readdirSync(elsewhere), []);
    assert.throws(() => execFileSync("mkdir", [join(elsewhere, "x")], { stdio: "ignore" }));
    execFileSync("umount", [elsewhere]);
    assert.throws(() => mount("127.0.0.1:/1"));
    rmSync(elsewhere, { recursive: true });
  });
});

/** The lines "NAME: VALUE" of eavesdrop.c. */
function report(lines: string): Record<string, string> {
  return Object.fromEntries(
    lines
      .trim()
      .split("\n")
      .map((line) => line.split(": ")),
  );
}

/** In a file of proc(5)'s format. */
function listeningPorts(file: string): number[] {
  const [, ...lines] = readFileSync(file, "latin1").trim().split("\n");
  return lines.map((line) => Number.parseInt(/:([0-9A-F]{4}) /.exec(line)?.[1] ?? "", 16));
}
