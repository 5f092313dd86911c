import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { fromJson } from "@bufbuild/protobuf";
import { DaemonSet } from "kubernetes-models/apps/v1/DaemonSet";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { parse } from "yaml";
import { bbRunnerSettings } from "../../../src/config/bb-runner/application.ts";
import { bbWorkerSettings } from "../../../src/config/bb-worker/application.ts";
import { loadConfiguration } from "../../../src/config/load-configuration.ts";
import { evaluateJsonnet } from "../../../src/jsonnet/evaluate.ts";
import { ApplicationConfigurationSchema as RunnerSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_runner/bb_runner_pb.ts";
import { ApplicationConfigurationSchema as WorkerSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { BlobAccessConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";

const COMPOSE = join(import.meta.dirname, "../../../compose");

type Volume = string | { readonly target: string };

function targetOf(volume: Volume): string {
  return typeof volume === "string" ? volume.split(":")[1]! : volume.target;
}

/** Where worker.jsonnet keeps what actions must not reach, unless only the worker has a volume there. */
function pathsOutside(worker: readonly string[], runner: readonly string[]): readonly string[] {
  const text = readFileSync(join(COMPOSE, "config/worker.jsonnet"), "utf8");
  const paths = [...text.matchAll(/\b(?:path|stateDirectoryPath): '([^']+)'/g)].map(([, path]) => path!);
  assert.equal(paths.length, 3);
  return paths.filter((path) => {
    const isBelow = (target: string) => path.startsWith(`${target}/`);
    return !worker.some(isBelow) || runner.some(isBelow);
  });
}

describe("compose files", () => {
  const combinations = [["docker-compose.yml"], ["docker-compose.yml", "hard-linking.yml"]];
  combinations.push(["docker-compose.yml", "monitoring.yml"]);
  for (const files of combinations) {
    it(`docker-compose accepts ${files.join(" with ")}`, () => {
      const named = files.flatMap((file) => ["-f", join(COMPOSE, file)]);
      const text = execFileSync("docker-compose", [...named, "--profile", "monitoring", "config"], {
        encoding: "utf8",
      });
      const { worker, runner } = parse(text).services;
      assert.equal(worker.privileged, !files.includes("hard-linking.yml"));
      for (const service of files.includes("hard-linking.yml") ? [worker, runner] : [runner]) {
        assert.deepEqual([service.user, service.cap_drop], ["65534:65534", ["ALL"]]);
      }
      assert.equal(runner.network_mode, "none");
    });
  }

  it("the worker keeps its cache and pool where the runner's container does not see them", () => {
    const { worker, runner } = parse(readFileSync(join(COMPOSE, "docker-compose.yml"), "utf8")).services;
    assert.deepEqual(pathsOutside(worker.volumes.map(targetOf), runner.volumes.map(targetOf)), []);
  });

  it("name every service's configuration", () => {
    for (const file of globSync("*.yml", { cwd: COMPOSE })) {
      for (const [name] of readFileSync(join(COMPOSE, file), "utf8").matchAll(
        /(?<=\/config\/)[\w-]+\.jsonnet/g,
      )) {
        assert.ok(readFileSync(join(COMPOSE, "config", name)), name);
      }
    }
  });
});

describe("images", () => {
  for (const file of globSync("images/*.Dockerfile", { cwd: COMPOSE })) {
    it(`${basename(file)} has the bill of materials of the program that it has`, () => {
      const copied = [...readFileSync(join(COMPOSE, file), "utf8").matchAll(/^COPY package\/bin\/(\S+)/gm)];
      const [program, ...others] = copied.map(([, name]) => name);
      assert.deepEqual(others, [`${program}.cdx.json`]);
    });
  }
});

describe("Kubernetes manifests", () => {
  for (const file of globSync("*.yaml", { cwd: join(COMPOSE, "kubernetes") })) {
    it(`${file} is what the API takes`, () => {
      const manifest = parse(readFileSync(join(COMPOSE, "kubernetes", file), "utf8"));
      new (manifest.kind === "DaemonSet" ? DaemonSet : Deployment)(manifest).validate();
      // The schemas allow what they do not know, so a misspelt field is not found by them.
      const [worker, runner] = manifest.spec.template.spec.containers;
      const propagation = (container: {
        volumeMounts: readonly { name: string; mountPropagation?: string }[];
      }) => container.volumeMounts.find(({ name }) => name === "worker")!.mountPropagation;
      const mounts = file !== "worker-native.yaml";
      assert.deepEqual(
        [worker.securityContext.privileged, propagation(worker), propagation(runner)],
        mounts ? [true, "Bidirectional", "HostToContainer"] : [undefined, undefined, undefined],
      );
      if (mounts) {
        const targets = (container: { volumeMounts: readonly { mountPath: string }[] }) =>
          container.volumeMounts.map(({ mountPath }) => mountPath);
        assert.deepEqual(pathsOutside(targets(worker), targets(runner)), []);
      }
      for (const { securityContext } of mounts ? [runner] : [worker, runner]) {
        const { runAsNonRoot, allowPrivilegeEscalation, capabilities } = securityContext;
        assert.deepEqual(
          [runAsNonRoot, allowPrivilegeEscalation, capabilities],
          [true, false, { drop: ["ALL"] }],
        );
      }
    });
  }
});

describe("configurations of compose/", () => {
  for (const file of globSync("config/{worker,worker-native,runner}.jsonnet", { cwd: COMPOSE })) {
    it(`${basename(file)} can be used`, () => {
      const path = join(COMPOSE, file);
      if (file.includes("runner")) {
        bbRunnerSettings(loadConfiguration(path, RunnerSchema, { HOSTNAME: "host" }));
      } else {
        bbWorkerSettings(loadConfiguration(path, WorkerSchema, { HOSTNAME: "host" }));
      }
    });
  }

  for (const file of ["storage", "frontend", "scheduler", "browser"]) {
    it(`${file}.jsonnet, which is Buildbarn's, has backends that exist`, () => {
      const path = join(COMPOSE, "config", `${file}.jsonnet`);
      const configuration = JSON.parse(evaluateJsonnet(path, readFileSync(path, "utf8"), {}));
      const stores = configuration.blobstore ?? configuration;
      for (const name of ["contentAddressableStorage", "actionCache", "fileSystemAccessCache"]) {
        const store = stores[name];
        if (store !== undefined) {
          fromJson(BlobAccessConfigurationSchema, store.backend ?? store);
        }
      }
    });
  }
});
