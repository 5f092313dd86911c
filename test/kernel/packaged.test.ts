import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { WorkerCluster } from "./worker-cluster.ts";

const inKernel = process.env.IN_KERNEL ? {} : { skip: "run it by npm test -- kernel/packaged" };
/** Made by scripts/test.ts. */
const PACKAGES = join(import.meta.dirname, "../../node_modules/.cache/package");

for (const form of ["bundle", "bin"]) {
  test(`an action runs on the worker and the runner of package/${form}`, inKernel, async (test) => {
    const cluster = await WorkerCluster.start(test, { programs: join(PACKAGES, form), concurrency: 1 });
    await cluster.ready();
    const { inputRoot } = await cluster.rootWith("input", Buffer.from("of the input root"));
    const response = await cluster.run({
      inputRoot,
      script: "cat input; cat input > copy; stat -c %F /dev/null",
      command: { outputPaths: ["copy"] },
    });
    assert.equal(response.status, undefined, response.status?.message);
    const { exitCode, stdoutDigest, outputFiles } = response.result!;
    assert.equal(exitCode, 0);
    assert.equal(await cluster.text(stdoutDigest), "of the input rootcharacter special file\n");
    assert.equal(await cluster.text(outputFiles[0]?.digest), "of the input root");
    assert.equal(await cluster.worker.end("SIGTERM"), 0);
    assert.equal(await cluster.runner.end("SIGTERM"), 0);
  });
}
