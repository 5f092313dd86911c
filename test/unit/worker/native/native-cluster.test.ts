import assert from "node:assert/strict";
import { existsSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import {
  type ExecuteResponse,
  TreeSchema,
} from "../../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  FilePoolResourceUsageSchema,
  InputRootResourceUsageSchema,
} from "../../../../src/proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import { Code } from "../../../../src/proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../../../../src/proto/gen/google/rpc/error_details_pb.ts";
import { digestMessage } from "../../../../src/reapi/wire-digest.ts";
import { NativeCluster } from "./native-cluster.ts";

const asRoot = process.getuid?.() === 0 ? {} : { skip: "needs root" };

function succeeded({ status, result }: ExecuteResponse): void {
  assert.equal(status, undefined);
  assert.equal(result?.exitCode, 0);
}

describe("a worker with a native build directory", { timeout: 600_000 }, () => {
  it("runs an action among hard links of the cache, and has its outputs", async (test) => {
    const cluster = await NativeCluster.start(test);
    const below = await cluster.putDirectory({ symlinks: [{ name: "link", target: ".//..//data" }] });
    const inputRoot = await cluster.putDirectory({
      files: [
        { name: "data", digest: await cluster.putFile("input\n") },
        { name: "program", digest: await cluster.putFile("#!/bin/sh\necho ran\n"), isExecutable: true },
      ],
      directories: [{ name: "below", digest: digestMessage(below) }],
    });
    const response = await cluster.run({
      inputRoot,
      script: `stat -c '%n %a %h %Y' data program; readlink below/link; cat below/link; ./program; pwd >&2
        mkdir -p out/sub parent; echo made > out/sub/file; ln -s /nowhere out/link; echo new > below/new
        echo log > ../server_logs/log; touch ../tmp/file`,
      command: { outputPaths: ["out", "below/new", "data", "absent", "parent/file"] },
    });
    succeeded(response);
    const { result, serverLogs } = response;
    assert.deepEqual((await cluster.text(result?.stdoutDigest)).split("\n"), [
      "data 444 2 946684800",
      "program 555 2 946684800",
      "../data",
      "input",
      "ran",
      "",
    ]);
    assert.match(await cluster.text(result?.stderrDigest), /\/build\/[0-9a-f]{16}\/root\n$/);
    assert.equal(await cluster.text(serverLogs.log?.digest), "log\n");
    const files = result!.outputFiles.map(async ({ path, digest }) => [path, await cluster.text(digest)]);
    assert.deepEqual(await Promise.all(files), [
      ["below/new", "new\n"],
      ["data", "input\n"],
    ]);
    const [directory] = result!.outputDirectories;
    const { root, children } = fromBinary(TreeSchema, await cluster.read(directory?.treeDigest));
    assert.deepEqual(
      root?.symlinks.map(({ name, target }) => [name, target]),
      [["link", "/nowhere"]],
    );
    assert.deepEqual(
      children.map(({ files }) => files.map(({ name }) => name)),
      [["file"]],
    );
    assert.deepEqual(readdirSync(cluster.buildPath), []);
    assert.deepEqual(
      readdirSync(cluster.cachePath).map((name) => name.replace(/-.*[0-9a-f]{64}-/, "…")),
      ["sha256…6-x", "sha256…19+x"],
    );
  });

  it("says what Buildbarn's worker says of such an action: no use of a file pool, and no look at its inputs", async (test) => {
    const cache = { grpc: { client: { address: "localhost:1" } } };
    const cluster = await NativeCluster.start(test, {
      worker: {
        prefetching: {
          fileSystemAccessCache: cache,
          bloomFilterBitsPerPath: 14,
          bloomFilterMaximumSizeBytes: 1000,
        },
      },
    });
    const response = await cluster.run({ script: "echo some > file; cat file" });
    succeeded(response);
    const { auxiliaryMetadata, virtualExecutionDuration } = response.result!.executionMetadata!;
    assert.ok(virtualExecutionDuration);
    assert.deepEqual(
      auxiliaryMetadata.map(({ typeUrl }) => typeUrl.split(".").at(-1)),
      ["POSIXResourceUsage", "InputRootResourceUsage", "FilePoolResourceUsage"],
    );
    const inputRoot = anyUnpack(auxiliaryMetadata[1]!, InputRootResourceUsageSchema)!;
    assert.deepEqual(
      [inputRoot.directoriesResolved, inputRoot.directoriesRead, inputRoot.filesRead],
      [1n, 0n, 0n],
    );
    const filePool = anyUnpack(auxiliaryMetadata[2]!, FilePoolResourceUsageSchema)!;
    assert.deepEqual([filePool.filesCreated, filePool.writesCount], [0n, 0n]);
  });

  it("names a missing file or directory for the client to upload, and runs the next action", async (test) => {
    const cluster = await NativeCluster.start(test);
    const missing = { hash: "5".repeat(64), sizeBytes: 5n };
    for (const directory of [
      { files: [{ name: "file", digest: missing }] },
      { directories: [{ name: "directory", digest: missing }] },
    ]) {
      const inputRoot = await cluster.putDirectory(directory);
      const { status, result } = await cluster.run({ inputRoot, script: "true" });
      assert.equal(status?.code, Code.FAILED_PRECONDITION, status?.message);
      const { violations } = anyUnpack(status!.details[0]!, PreconditionFailureSchema)!;
      assert.deepEqual(
        violations.map(({ type, subject }) => [type, subject]),
        [["MISSING", `blobs/${missing.hash}/5`]],
      );
      assert.equal(result?.executionMetadata?.executionStartTimestamp, undefined);
      assert.deepEqual(readdirSync(cluster.buildPath), []);
    }
    succeeded(await cluster.run({ script: "true" }));
  });

  it("gives the same action the same directory again, and others a number", async (test) => {
    const cluster = await NativeCluster.start(test);
    const where = async (doNotCache: boolean) => {
      const response = await cluster.run({ script: "pwd", action: { doNotCache } });
      return (await cluster.text(response.result?.stdoutDigest)).split("/").at(-2);
    };
    const first = await where(false);
    assert.match(first!, /^[0-9a-f]{16}$/);
    assert.equal(await where(false), first);
    const numbers = [await where(true), await where(true)].map(Number);
    assert.ok(numbers[0]! < numbers[1]!, `${numbers}`);
  });

  it("makes a number do where the action's directory is taken", async (test) => {
    const cluster = await NativeCluster.start(test, { concurrency: 2 });
    const where = (await cluster.text((await cluster.run({ script: "pwd" })).result?.stdoutDigest)).trim();
    const name = where.split("/").at(-2)!;
    // Nothing is cleaned while it runs.
    const holder = await cluster.hold(undefined, "true");
    mkdirSync(join(cluster.buildPath, name));
    const response = await cluster.run({ script: "pwd" });
    holder.release();
    succeeded(response);
    assert.match(await cluster.text(response.result?.stdoutDigest), /\/build\/\d+\/root\n$/);
    succeeded(await holder.response);
    assert.deepEqual(readdirSync(cluster.buildPath), []);
  });

  it("has actions that run at the same time share their inputs", async (test) => {
    const cluster = await NativeCluster.start(test, { concurrency: 4 });
    const files = await Promise.all(
      Array.from({ length: 50 }, async (_, index) => ({
        name: `file${index}`,
        digest: await cluster.putFile(`content ${index}`),
      })),
    );
    const inputRoot = await cluster.putDirectory({ files });
    const responses = await Promise.all(
      [1, 2, 3, 4].map((number) =>
        cluster.run({ inputRoot, script: `: ${number}; stat -c %i file*; cat file*` }),
      ),
    );
    responses.forEach(succeeded);
    const texts = await Promise.all(responses.map(({ result }) => cluster.text(result?.stdoutDigest)));
    assert.equal(new Set(texts).size, 1);
    assert.equal(texts[0]!.split("\n").length, 51);
  });

  it("gives up no more than names of files that an action has", async (test) => {
    const cluster = await NativeCluster.start(test, {
      concurrency: 2,
      native: { maximumCacheFileCount: "1" },
    });
    const rootOf = async (prefix: string) =>
      cluster.putDirectory({
        files: await Promise.all(
          Array.from({ length: 5 }, async (_, index) => ({
            name: `file${index}`,
            digest: await cluster.putFile(`${prefix} ${index} `),
          })),
        ),
      });
    const [held, other] = await Promise.all([rootOf("held"), rootOf("other")]);
    const holder = await cluster.hold(held, "cat file*");
    const response = await cluster.run({ inputRoot: other, script: "cat file*" });
    assert.equal(
      await cluster.text(response.result?.stdoutDigest),
      "other 0 other 1 other 2 other 3 other 4 ",
    );
    assert.equal(readdirSync(cluster.cachePath).length, 1);
    holder.release();
    assert.equal(
      await cluster.text((await holder.response).result?.stdoutDigest),
      "held 0 held 1 held 2 held 3 held 4 ",
    );
  });

  it("fetches anew what a command has changed in the cache", async (test) => {
    const cluster = await NativeCluster.start(test);
    const inputRoot = await cluster.putDirectory({
      files: [
        { name: "first", digest: await cluster.putFile("first") },
        { name: "second", digest: await cluster.putFile("second") },
      ],
    });
    succeeded(await cluster.run({ inputRoot, script: "chmod u+w first; echo changed > first" }));
    const both = async (script: string) => {
      const response = await cluster.run({ inputRoot, script });
      return cluster.text(response.result?.stdoutDigest);
    };
    assert.equal(await both("cat first second"), "firstsecond");
    for (const name of readdirSync(cluster.cachePath)) {
      rmSync(join(cluster.cachePath, name));
    }
    assert.equal(await both(": again; cat first second"), "firstsecond");
  });

  describe("follows no link that a command leaves", () => {
    const cleanUp = new AsyncDisposableStack();
    let cluster: NativeCluster;
    before(async () => {
      cluster = await NativeCluster.start({ after: (work) => cleanUp.defer(work as () => Promise<void>) });
    });
    after(() => cleanUp.disposeAsync());

    for (const [what, script, outputPaths, expected] of [
      ["where a directory was", "ln -s /etc directory", ["directory/passwd"], {}],
      ["where an output's directory was", "rmdir parent; ln -s /etc parent", ["parent/passwd"], {}],
      ["where standard output was", "rm ../stdout; ln -s /etc/passwd ../stdout", [], {}],
      ["where server logs were", "rmdir ../server_logs; ln -s /etc ../server_logs", [], {}],
      ["where the input root was", "cd ..; mv root gone; ln -s /etc root", ["passwd"], {}],
      ["where the build directory was", "cd ../..; mv $(ls) gone; ln -s /etc $OLDPWD", ["passwd"], {}],
      ["as an output", "ln -s /etc/passwd link", ["link"], { link: "/etc/passwd" }],
    ] as const) {
      it(what, async () => {
        const { result, serverLogs } = await cluster.run({
          script,
          command: { outputPaths: [...outputPaths] },
        });
        assert.deepEqual(result?.outputFiles, []);
        assert.equal(result?.stdoutDigest, undefined);
        assert.deepEqual(serverLogs, {});
        const symlinks = result!.outputSymlinks.map(({ path, target }) => [path, target]);
        assert.deepEqual(Object.fromEntries(symlinks), expected);
        succeeded(await cluster.run({ script: ": next" }));
        assert.deepEqual(readdirSync(cluster.buildPath), []);
        assert.ok(existsSync("/etc/passwd"));
      });
    }
  });

  describe("ends an action whose outputs cannot be had with an error, and removes all of it", () => {
    const cleanUp = new AsyncDisposableStack();
    let cluster: NativeCluster;
    before(async () => {
      cluster = await NativeCluster.start({ after: (work) => cleanUp.defer(work as () => Promise<void>) });
    });
    after(() => cleanUp.disposeAsync());

    for (const [what, script, outputPath, code, message] of [
      ["a FIFO", "mkfifo out", "out", Code.INVALID_ARGUMENT, /neither a regular file nor a directory nor/],
      [
        "a name that is not UTF-8",
        `mkdir out; touch "out/$(printf '\\377')"`,
        "out",
        Code.INVALID_ARGUMENT,
        /is not UTF-8/,
      ],
      [
        "directories that are too deep",
        `mkdir out; cd out; deep=$(printf 'd/%.0s' $(seq 1000)); for i in 1 2 3; do mkdir -p $deep; cd -P $deep; done`,
        "out",
        Code.INVALID_ARGUMENT,
        /are too deep/,
      ],
    ] as const) {
      it(what, async () => {
        const { status } = await cluster.run({ script, command: { outputPaths: [outputPath] } });
        assert.equal(status?.code, code, status?.message);
        assert.match(status?.message ?? "", message);
        assert.deepEqual(readdirSync(cluster.buildPath), []);
      });
    }
  });

  it("removes what is hard to remove, and what lies beside the action's directory", async (test) => {
    const cluster = await NativeCluster.start(test);
    const holder = await cluster.hold(undefined, "mkdir -p a/b; touch a/b/c; chmod 0 a/b; chmod 0 a");
    mkdirSync(join(cluster.buildPath, "beside"));
    writeFileSync(join(cluster.buildPath, "beside/file"), "");
    symlinkSync("/", join(cluster.buildPath, "link"));
    holder.release();
    succeeded(await holder.response);
    assert.deepEqual(readdirSync(cluster.buildPath), []);
    assert.ok(existsSync("/etc"));
  });

  it("uploads large outputs, and many", async (test) => {
    const cluster = await NativeCluster.start(test, { concurrency: 2 });
    const script = `head -c 5000000 /dev/zero > large
      mkdir many; i=0; while [ $i -lt 700 ]; do echo $i > many/$i; i=$((i+1)); done`;
    const response = await cluster.run({ script, command: { outputPaths: ["large", "many"] } });
    succeeded(response);
    const { outputFiles, outputDirectories } = response.result!;
    assert.ok((await cluster.read(outputFiles[0]?.digest)).equals(Buffer.alloc(5_000_000)));
    const { root } = fromBinary(TreeSchema, await cluster.read(outputDirectories[0]?.treeDigest));
    assert.equal(root?.files.length, 700);
    const texts = root!.files.map(async ({ name, digest }) => [`${name}\n`, await cluster.text(digest)]);
    assert.ok((await Promise.all(texts)).every(([name, text]) => name === text));
    const inputRoot = await cluster.putDirectory({
      files: [{ name: "large", digest: outputFiles[0]!.digest! }],
    });
    const reader = await cluster.run({ inputRoot, script: "cksum < large" });
    assert.match(await cluster.text(reader.result?.stdoutDigest), / 5000000\n$/);
  });

  it("says that the disk is full, and goes on once it is not", asRoot, async (test) => {
    const cluster = await NativeCluster.start(test, { diskBytes: 2_000_000 });
    const file = async (name: string, size: number) => ({
      name,
      digest: await cluster.putFile(Buffer.alloc(size, name)),
    });
    const tooLarge = await cluster.putDirectory({ files: [await file("large", 3_000_000)] });
    const { status } = await cluster.run({ inputRoot: tooLarge, script: "true" });
    assert.equal(status?.code, Code.UNAVAILABLE, status?.message);
    assert.match(status?.message ?? "", /cannot keep an input file in .*: its disk is full/);
    const filled = await cluster.run({ script: "head -c 3000000 /dev/zero > file" });
    assert.equal(filled.status, undefined);
    assert.notEqual(filled.result?.exitCode, 0);
    const small = await cluster.putDirectory({ files: [await file("small", 100_000)] });
    succeeded(await cluster.run({ inputRoot: small, script: "cat small > copy" }));
    assert.equal(readdirSync(cluster.cachePath).length, 1);
  });

  it("ends a command at its timeout", async (test) => {
    const cluster = await NativeCluster.start(test);
    const { status } = await cluster.run({
      script: "exec sleep 1000",
      action: { timeout: { seconds: 0n, nanos: 200_000_000 } },
    });
    assert.equal(status?.code, Code.DEADLINE_EXCEEDED, status?.message);
    assert.deepEqual(readdirSync(cluster.buildPath), []);
  });

  it("lets a running action finish when it is stopped, and hands it back when it must be soon", async (test) => {
    for (const grace of [undefined, 0]) {
      const cluster = await NativeCluster.start(test);
      const holder = await cluster.hold(undefined, "true");
      const stopped = cluster.worker.stop(grace);
      if (grace === undefined) {
        assert.equal(await Promise.race([stopped, setTimeout(100, "still running")]), "still running");
        holder.release();
        succeeded(await holder.response);
      }
      await stopped;
      assert.deepEqual(readdirSync(cluster.buildPath), []);
    }
  });

  it("makes the devices of a chrooted input root", asRoot, async (test) => {
    const cluster = await NativeCluster.start(test, {
      runnerSettings: { inputRootCharacterDeviceNodes: ["null", "zero"] },
    });
    const dev = await cluster.putDirectory({ files: [{ name: "null", digest: await cluster.putFile("x") }] });
    const inputRoot = await cluster.putDirectory({
      directories: [{ name: "dev", digest: digestMessage(dev) }],
    });
    const response = await cluster.run({ inputRoot, script: "stat -c '%n %F %t %T' dev/*" });
    succeeded(response);
    assert.equal(
      await cluster.text(response.result?.stdoutDigest),
      "dev/null character special file 1 3\ndev/zero character special file 1 5\n",
    );
  });
});
