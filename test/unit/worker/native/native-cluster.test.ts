import assert from "node:assert/strict";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
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
import { untilFile } from "../../runner/processes.ts";
import { NativeCluster } from "./native-cluster.ts";

const asRoot = process.getuid?.() === 0 ? {} : { skip: "needs root" };


function succeeded({ status, result }: ExecuteResponse): void {
  assert.equal(status, undefined);
  assert.equal(result?.exitCode, 0);
}

describe("a worker with a native build directory", { timeout: 120_000 }, () => {
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
});
