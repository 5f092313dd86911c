/** A real Bazel through Buildbarn's own scheduler and storage; see test/kernel/README.md. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { programCommand } from "../../src/cluster/programs.ts";
import { shareMounts } from "../../src/mount/index.ts";
import { Bazel, layeredOutputs, layeredRules } from "../bazel.ts";
import { BuildbarnDeployment, findBuildbarn } from "./buildbarn-deployment.ts";
import { Program } from "./program.ts";
import { unmountVolume } from "./volume.ts";

const buildbarn = findBuildbarn();
const LAYERS = { layers: 4, rulesPerLayer: 6 };

describe("the public compose deployment with our worker and runner", {
  skip: buildbarn ? false : "needs Buildbarn's programs: BUILDBARN=DIR npm test -- kernel/buildbarn",
}, () => {
  for (const [title, workerFile, instanceName] of [
    ["the FUSE pair", "worker-fuse-ubuntu22-04.jsonnet", "fuse"],
    ["the hard-linking pair", "worker-hardlinking-ubuntu22-04.jsonnet", "hardlinking"],
  ] as const) {
    it(`builds by Bazel: ${title}`, { timeout: 900_000 }, async () => {
      await using resources = new AsyncDisposableStack();
      const folder = mkdtempSync(join(tmpdir(), "deployment-"));
      resources.defer(() => rmSync(folder, { recursive: true, force: true }));
      const deployment = await BuildbarnDeployment.start(buildbarn!, folder);
      resources.defer(() => deployment.end());

      const volume = join(folder, "volume");
      for (const name of ["build", "cas/persistent_state", "cache"]) {
        mkdirSync(join(volume, name), { recursive: true });
      }
      await shareMounts(volume);
      resources.defer(() => unmountVolume(volume, "-R"));
      const runner = start("runner", await deployment.configuration("runner-ubuntu22-04.jsonnet", volume));
      resources.defer(async () => void (await runner.end("SIGKILL")));
      await runner.line(/runner ready/);
      const worker = start("worker", await deployment.configuration(workerFile, volume));
      resources.defer(async () => void (await worker.end("SIGTERM")));
      await worker.line(/ready for work/);

      const bazel = await Bazel.create(folder, layeredRules(LAYERS));
      resources.defer(async () => void (await bazel.run("shutdown")));
      const build = () =>
        bazel.run(
          "build",
          `--remote_executor=grpc://${deployment.address}`,
          `--remote_instance_name=${instanceName}`,
          "--spawn_strategy=remote",
          "--jobs=8",
          "--curses=no",
          "--verbose_failures",
          "//:all",
        );
      assert.match(await build(), /24 processes: 24 remote\./);
      for (const [name, content] of layeredOutputs(LAYERS)) {
        assert.equal(await readFile(bazel.output(name), "utf8"), content, name);
      }
      await bazel.run("clean");
      assert.match(await build(), /24 processes: 24 remote cache hit\./);
    });
  }
});

function start(program: "worker" | "runner", configuration: string): Program {
  return new Program([...programCommand(program), configuration]);
}
