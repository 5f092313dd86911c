import assert from "node:assert/strict";
import { readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parse } from "yaml";
import { WorkerCluster } from "./worker-cluster.ts";

const inKernel = process.env.IN_KERNEL ? {} : { skip: "run it by npm run in-kernel" };
const COMPOSE = join(import.meta.dirname, "../../compose");

/** What a service of a compose file says of how its container is held. */
interface Service {
  readonly privileged?: boolean;
  readonly user?: string;
  readonly cap_drop?: readonly string[];
  readonly cap_add?: readonly string[];
  readonly security_opt?: readonly string[];
  readonly network_mode?: string;
  readonly volumes: readonly (string | { target: string; bind?: { propagation: string } })[];
}

/** The command that has another started as in a container of the service, as far as that is the kernel's doing. */
function container(service: Service): string[] {
  const volume = service.volumes.find((volume) => typeof volume !== "string" && volume.target === "/worker");
  assert.ok(typeof volume === "object" && volume.bind !== undefined);
  const unshare = [
    ...["unshare", "--mount", "--propagation", volume.bind.propagation],
    ...["--pid", "--fork", "--kill-child", "--mount-proc", "--net"],
  ];
  if (service.privileged) {
    return unshare;
  }
  assert.deepEqual([service.cap_drop, service.cap_add], [["ALL"], undefined]);
  assert.deepEqual(service.security_opt, ["no-new-privileges:true"]);
  assert.equal(service.network_mode, "none");
  const [user, group] = service.user!.split(":");
  return [
    ...[...unshare, "setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"],
    ...["--clear-groups", `--regid=${group}`, `--reuid=${user}`],
  ];
}

test("worker and runner in the compose file's namespaces run an action", inKernel, async (test) => {
  const { services } = parse(readFileSync(join(COMPOSE, "docker-compose.yml"), "utf8")) as {
    services: Readonly<Record<"worker" | "runner", Service>>;
  };
  const [uid, gid] = services.runner.user!.split(":").map(Number);
  const cluster = await WorkerCluster.start(test, {
    concurrency: 1,
    containers: { worker: container(services.worker), runner: container(services.runner) },
    runnerSettings: { buildDirectoryOwnerUserId: uid, buildDirectoryOwnerGroupId: gid },
    runnerConfiguration: { chrootIntoInputRoot: false },
    // As the service `volumes` makes it.
    volumeMode: 0o1777,
  });
  await cluster.ready();

  for (const namespace of ["mnt", "pid", "net"]) {
    const of = (pid: number | string) => readlinkSync(`/proc/${pid}/ns/${namespace}`);
    assert.equal(new Set([of("self"), of(cluster.worker.pid), of(cluster.runner.pid)]).size, 3, namespace);
  }
  const status = readFileSync(`/proc/${cluster.runner.pid}/status`, "utf8");
  for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"]) {
    assert.match(status, new RegExp(`^Cap${set}:\\s*0+$`, "m"));
  }
  assert.match(status, /^NoNewPrivs:\s*1$/m);
  assert.match(status, new RegExp(`^Uid:\\s*${uid}\\s`, "m"));

  const { inputRoot } = await cluster.rootWith("input", Buffer.from("of the input root"));
  const response = await cluster.run({
    inputRoot,
    script: "cat input; id -u; echo written > output; cat /proc/net/dev | wc -l",
    command: { outputPaths: ["output"] },
  });
  assert.equal(response.status, undefined, response.status?.message);
  const { exitCode, stdoutDigest, outputFiles } = response.result!;
  assert.equal(exitCode, 0);
  // Of network devices, behind two lines of heading, there is the loopback.
  assert.equal(await cluster.text(stdoutDigest), `of the input root${uid}\n3\n`);
  assert.equal(await cluster.text(outputFiles[0]?.digest), "written\n");
  assert.equal(await cluster.worker.end("SIGTERM"), 0);
});

test("the capabilities of the worker's systemd unit suffice", inKernel, async (test) => {
  const unit = readFileSync(join(COMPOSE, "systemd/bb_worker.service"), "utf8");
  const capabilities = /^CapabilityBoundingSet=(.*)$/m.exec(unit)![1]!.toLowerCase().split(" ");
  const bounds = ["-all", ...capabilities.map((name) => name.replace("cap_", "+"))].join(",");
  const cluster = await WorkerCluster.start(test, {
    concurrency: 1,
    containers: {
      worker: ["unshare", "--fork", "--kill-child", "setpriv", `--bounding-set=${bounds}`],
      runner: ["unshare", "--fork", "--kill-child"],
    },
  });
  await cluster.ready();
  const response = await cluster.run({ script: "cat /etc/motd; echo > output; chmod 4755 output" });
  assert.equal(response.status, undefined, response.status?.message);
  assert.equal(response.result?.exitCode, 0);
  assert.equal(await cluster.text(response.result.stdoutDigest), "hello from the CAS\n");
  assert.equal(await cluster.worker.end("SIGTERM"), 0);
});
