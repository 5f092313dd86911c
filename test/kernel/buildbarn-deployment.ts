import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createConnection } from "node:net";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { Program } from "./program.ts";

/** Hosts and ports of the compose file, and addresses of this machine that take their place. */
const ADDRESSES = {
  "storage-0:8981": "127.0.0.2:8981",
  "storage-1:8981": "127.0.0.3:8981",
  "scheduler:8982": "127.0.0.1:8982",
  "scheduler:8983": "127.0.0.1:8983",
};
/** What the deployment's workers offer. */
const PLATFORM = {
  properties: [
    { name: "OSFamily", value: "linux" },
    {
      name: "container-image",
      value:
        "docker://ghcr.io/catthehacker/ubuntu:act-22.04@sha256:dd7654ffb01d5b7b54b23b9ce928a1f7f2d08c7b3d7e320b6574b55d7ccde78b",
    },
  ],
};
const FRONTEND = "127.0.0.1:8980";

/** What the test needs: Buildbarn's programs, and its public deployment. */
export interface Buildbarn {
  /** Has `bb_storage` and `bb_scheduler`. */
  readonly programs: string;
  /** A checkout of bb-deployments. */
  readonly deployments: string;
}

/** In the folder that the environment variable BUILDBARN names: `bin` and `bb-deployments`. */
export function findBuildbarn(): Buildbarn | undefined {
  const folder = process.env.BUILDBARN;
  return folder ? { programs: join(folder, "bin"), deployments: join(folder, "bb-deployments") } : undefined;
}

/**
 * The public compose deployment's two storages, frontend and scheduler as processes of this machine. Its
 * configuration files, those for workers and runners too, are copied to `folder`; hosts and paths alone are changed.
 */
export class BuildbarnDeployment {
  /** Where clients connect. */
  readonly address = FRONTEND;
  readonly #buildbarn: Buildbarn;
  readonly #folder: string;
  readonly #programs: Program[] = [];

  private constructor(buildbarn: Buildbarn, folder: string) {
    this.#buildbarn = buildbarn;
    this.#folder = folder;
  }

  static async start(buildbarn: Buildbarn, folder: string): Promise<BuildbarnDeployment> {
    const deployment = new BuildbarnDeployment(buildbarn, folder);
    try {
      await cp(join(buildbarn.deployments, "docker-compose/config"), join(folder, "config"), {
        recursive: true,
      });
      await deployment.#change("common.libsonnet", { ...ADDRESSES, "':80'": "'127.0.0.1:0'" });
      for (const shard of [0, 1]) {
        await deployment.#storage(shard);
      }
      await deployment.#change("scheduler.jsonnet", {
        "':7982'": "'127.0.0.1:7982'",
        // Actions of the Bazel that npm has, which is from before REAPI 2.2, have no platform.
        "platformKeyExtractor: { action: {} }": `platformKeyExtractor: { static: ${JSON.stringify(PLATFORM)} }`,
      });
      await deployment.#start("bb_scheduler", "scheduler.jsonnet", "127.0.0.1:8983");
      await deployment.#change("frontend.jsonnet", ADDRESSES);
      await deployment.#start("bb_storage", "frontend.jsonnet", FRONTEND);
      return deployment;
    } catch (error) {
      await deployment.end();
      throw error;
    }
  }

  /**
   * The path of a worker's or runner's file of the deployment. `volume` is what its containers have at /worker.
   */
  async configuration(name: string, volume: string): Promise<string> {
    return this.#change(name, { ...ADDRESSES, "/worker/": `${volume}/` });
  }

  async end(): Promise<void> {
    for (const program of this.#programs.splice(0).reverse()) {
      await program.end("SIGKILL");
    }
  }

  async #storage(shard: number): Promise<void> {
    for (const kind of ["cas", "ac", "fsac"]) {
      await mkdir(join(this.#folder, `storage-${kind}-${shard}`, "persistent_state"), { recursive: true });
    }
    const address = ADDRESSES[`storage-${shard}:8981` as keyof typeof ADDRESSES];
    const name = `storage-${shard}.jsonnet`;
    await cp(join(this.#folder, "config/storage.jsonnet"), join(this.#folder, "config", name));
    await this.#change(name, {
      "':8981'": `'${address}'`,
      "/storage-cas/": `${this.#folder}/storage-cas-${shard}/`,
      "/storage-ac/": `${this.#folder}/storage-ac-${shard}/`,
      "/storage-fsac/": `${this.#folder}/storage-fsac-${shard}/`,
    });
    await this.#start("bb_storage", name, address);
  }

  /** Starts a program of Buildbarn's. Resolves when it listens. */
  async #start(program: string, configuration: string, address: string): Promise<void> {
    const started = new Program([
      join(this.#buildbarn.programs, program),
      join(this.#folder, "config", configuration),
    ]);
    this.#programs.push(started);
    const [host, port] = address.split(":");
    while (!(await accepts(host!, Number(port)))) {
      if (started.ended) {
        throw new Error(`${program} ended:\n${started.lines.join("\n")}`);
      }
      await setTimeout(50);
    }
  }

  /** Replaces texts in a configuration file, and gives its path. */
  async #change(name: string, replacements: Readonly<Record<string, string>>): Promise<string> {
    const path = join(this.#folder, "config", name);
    let text = await readFile(path, "utf8");
    for (const [from, to] of Object.entries(replacements)) {
      text = text.replaceAll(from, to);
    }
    await writeFile(path, text);
    return path;
  }
}

function accepts(host: string, port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(port, host);
    socket.on("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.on("error", () => resolve(false));
  });
}
