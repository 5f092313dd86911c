/**
 * What the tests here run their checks on: both file systems, each mounted with every version of NFSv4, and a way to
 * run programs on them. This process serves the mounts, so it must not wait for what uses them: everything goes
 * through {@link run} or {@link sh}.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe } from "node:test";
import { NfsMount, type NfsMountSettings, type NfsVersion } from "../../src/mount/index.ts";
import {
  type Directory,
  type FileSystem,
  FileType,
  Gate,
  MemoryFileSystem,
  NfsServer,
  type NfsServerStatistics,
} from "../../src/nfs/index.ts";
import { type BuildDirectory, DirectoryFilePool, type Fault, FileTree } from "../../src/vfs/index.ts";
import { FakeInputSource } from "../unit/vfs/fake-input-source.ts";

export const inKernel = process.env.IN_KERNEL ? {} : { skip: "run it by npm run in-kernel" };

export const ROOT_USER = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

/** A directory of plain files and directories. */
export interface Files {
  readonly [name: string]: string | Uint8Array | Files;
}

export interface Outcome {
  readonly status: number | null;
  readonly output: string;
  readonly errors: string;
}

/** Runs a program to its end, whatever that is. SIGTERM is sent to it when the signal aborts. */
export function run(command: string, args: readonly string[], signal?: AbortSignal): Promise<Outcome> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (data: string) => {
    output += data;
  });
  child.stderr.setEncoding("utf8").on("data", (data: string) => {
    errors += data;
  });
  const end = () => void child.kill("SIGTERM");
  signal?.addEventListener("abort", end, { once: true });
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (status) => {
      signal?.removeEventListener("abort", end);
      resolve({ status, output, errors });
    });
  });
}

/** What a bash script in `folder` prints, without newlines at its end; its failure is an error with all it said. */
export async function sh(script: string, folder: string): Promise<string> {
  // The shell is not started in the folder: this process would wait for that.
  const { status, output, errors } = await run("bash", [
    "-euo",
    "pipefail",
    "-c",
    `cd "$0"\n${script}`,
    folder,
  ]);
  if (status !== 0) {
    throw new Error(`exit status ${status} of:\n${script}\n${output}${errors}`);
  }
  return output.trimEnd();
}

/** Compiles C sources of this folder; resolves to the program's path. */
export async function compile(folder: string, name: string, sources: readonly string[]): Promise<string> {
  const program = join(folder, name);
  const paths = sources.map((source) => join(import.meta.dirname, source));
  const { status, errors } = await run("cc", ["-Wall", "-Wextra", "-Werror", "-o", program, ...paths]);
  assert.equal(status, 0, errors);
  return program;
}

/** A file system as the tests need it on the server's side. */
export interface TestedFileSystem {
  readonly fileSystem: FileSystem;
  /** A new directory with these files; resolves to its path from the root. */
  makeDirectory(name: string, files: Files): Promise<string>;
  /** Throws where something went wrong unseen, or is kept that nobody can reach. */
  end(): Promise<void>;
}

export function memory(): TestedFileSystem {
  const fileSystem = new MemoryFileSystem();
  return {
    fileSystem,
    async makeDirectory(name, files) {
      await fill(await fileSystem.root.createDirectory(name, ROOT_USER, { mode: 0o755 }), files);
      return name;
    },
    async end() {},
  };
}

/** The directory at a path from the root. */
export async function findDirectory(fileSystem: FileSystem, path: string): Promise<Directory> {
  let directory = fileSystem.root;
  for (const name of path.split("/")) {
    const child = await directory.lookup(name);
    assert.ok(child?.type === FileType.DIRECTORY, `no directory ${name}`);
    directory = child;
  }
  return directory;
}

export async function fill(directory: Directory, files: Files): Promise<void> {
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === "string" || content instanceof Uint8Array) {
      const file = await directory.createFile(name, ROOT_USER, { mode: 0o644 });
      await file.write(0, Buffer.from(content), false);
    } else {
      await fill(await directory.createDirectory(name, ROOT_USER, { mode: 0o755 }), content);
    }
  }
}

/** Each directory is an action's input root: its files are fetched when they are read, and copied when written. */
export function workersTree(folder: string): TestedFileSystem {
  const source = new FakeInputSource();
  source.delayed = true;
  const fileSystem = new FileTree({ source, pool: new DirectoryFilePool(join(folder, "pool")) });
  const builds: BuildDirectory[] = [];
  const faults: Fault[] = [];
  return {
    fileSystem,
    async makeDirectory(name, files) {
      const build = fileSystem.createBuildDirectory(name, { onFault: (fault) => faults.push(fault) });
      builds.push(build);
      await build.attachInputRoot(["root"], source.addTree(files));
      return `${name}/root`;
    },
    async end() {
      for (const build of builds) {
        await build.remove();
        assert.deepEqual([build.quota.fileCount, build.quota.sizeBytes], [0, 0]);
      }
      assert.deepEqual(faults, []);
    },
  };
}

const fileSystems = { memory, "the worker's tree": workersTree } as const;
export type FileSystemName = keyof typeof fileSystems;
export const fileSystemNames = Object.keys(fileSystems) as FileSystemName[];
export const versions = ["4.0", "4.1", "4.2"] as const satisfies readonly NfsVersion[];

/** What stands between the kernel and the server, at a port of its own. */
export interface Detour {
  readonly port: number;
  close(): Promise<void>;
}

export interface ServedSettings {
  /** Whether the mounts come to the server through something in this process, not from reserved ports. */
  readonly indirect?: boolean;
  /** Whether the worker's tree is behind a gate. Default true. */
  readonly gate?: boolean;
  readonly leaseSeconds?: number;
}

/**
 * One file system and its server. The worker's tree is behind a gate, as in the worker, except with 4.0, which has no
 * sessions to know the own mount by.
 */
export class ServedFileSystem implements AsyncDisposable {
  readonly name: FileSystemName;
  readonly version: NfsVersion;
  /** On this machine's disk, not on a mount; gone at the end. */
  readonly folder = mkdtempSync(join(tmpdir(), "served-"));
  readonly server: NfsServer;
  readonly #tested: TestedFileSystem;
  readonly #gate: Gate | undefined;
  readonly #faults: unknown[] = [];
  #port = 0;
  #directories = 0;

  private constructor(name: FileSystemName, version: NfsVersion, settings: ServedSettings) {
    this.name = name;
    this.version = version;
    this.#tested = fileSystems[name](this.folder);
    this.#gate =
      name === "the worker's tree" && version !== "4.0" && settings.gate !== false
        ? new Gate({ reservedPortsOnly: !settings.indirect })
        : undefined;
    this.server = new NfsServer({
      fileSystem: this.fileSystem,
      delegations: delegatesIn(version),
      onFault: (error) => this.#faults.push(error),
      ...(this.#gate && { gate: this.#gate }),
      ...(settings.leaseSeconds !== undefined && { leaseSeconds: settings.leaseSeconds }),
    });
  }

  static async start(
    name: FileSystemName,
    version: NfsVersion,
    settings: ServedSettings = {},
  ): Promise<ServedFileSystem> {
    const served = new ServedFileSystem(name, version, settings);
    served.#port = await served.server.listen();
    return served;
  }

  get fileSystem(): FileSystem {
    return this.#tested.fileSystem;
  }

  /** The server's. */
  get port(): number {
    return this.#port;
  }

  /** Mounts the file system at a name in the {@link folder}. To be unmounted before the end. */
  mount(
    mountName: string,
    settings: Partial<Pick<NfsMountSettings, "port" | "network" | "mountOptions">> = {},
  ): Promise<NfsMount> {
    const mountPath = join(this.folder, mountName);
    const mount = (name: string) =>
      NfsMount.mount({
        port: this.#port,
        serverPath: `/${name}`,
        mountPath,
        version: this.version,
        ...settings,
      });
    return this.#gate ? this.#gate.open(mount) : mount("");
  }

  /** A new directory with these files: its path from the root. */
  makeDirectory(files: Files = {}): Promise<string> {
    return this.#tested.makeDirectory(`directory-${++this.#directories}`, files);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.server.close();
      await this.#tested.end();
      assert.deepEqual(this.#faults, []);
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }
}

/**
 * Whether the server gives delegations. To NFSv4.0 it would give WRITE delegations: when Linux 6.1 returns one of a
 * file on which several locks are held, it may read a lock that is gone, and panic (nfs_delegation_claim_locks).
 */
export function delegatesIn(version: NfsVersion): boolean {
  return version !== "4.0";
}

/** One file system, mounted. */
export class MountedFileSystem {
  readonly name: FileSystemName;
  readonly version: NfsVersion;
  readonly minor: number;
  readonly #makeDetour: ((port: number) => Promise<Detour>) | undefined;
  readonly #stack = new AsyncDisposableStack();
  #served: ServedFileSystem | undefined;

  constructor(name: FileSystemName, version: NfsVersion, makeDetour?: (port: number) => Promise<Detour>) {
    this.name = name;
    this.version = version;
    this.minor = Number(version.slice(2));
    this.#makeDetour = makeDetour;
  }

  get delegates(): boolean {
    return delegatesIn(this.version);
  }

  /** On this machine's disk, not on the mount; gone at the end. */
  get folder(): string {
    return this.#started.folder;
  }

  statistics(): NfsServerStatistics {
    return this.#started.server.statistics();
  }

  get fileSystem(): FileSystem {
    return this.#started.fileSystem;
  }

  async start(): Promise<void> {
    const served = await ServedFileSystem.start(this.name, this.version, {
      indirect: this.#makeDetour !== undefined,
    });
    this.#served = this.#stack.use(served);
    const detour = await this.#makeDetour?.(served.port);
    if (detour) {
      this.#stack.defer(() => detour.close());
    }
    this.#stack.use(await served.mount(MOUNT_NAME, detour && { port: detour.port }));
  }

  end(): Promise<void> {
    return this.#stack.disposeAsync();
  }

  /** The path, through the mount, of a new directory with these files. */
  async directory(files: Files = {}): Promise<string> {
    return join(this.#mountPath, await this.#started.makeDirectory(files));
  }

  /** A directory made by {@link directory}, as the server has it. */
  async node(path: string): Promise<Directory> {
    return findDirectory(this.fileSystem, path.slice(this.#mountPath.length + 1));
  }

  get #mountPath(): string {
    return join(this.folder, MOUNT_NAME);
  }

  get #started(): ServedFileSystem {
    assert.ok(this.#served, "start() first");
    return this.#served;
  }
}

const MOUNT_NAME = "mount";

/** A group of tests for each file system and version. `makeDetour` is called with the server's port. */
export function describeMounts(
  subject: string,
  define: (mount: MountedFileSystem) => void,
  makeDetour?: (port: number) => Promise<Detour>,
): void {
  for (const name of fileSystemNames) {
    for (const version of versions) {
      describe(`${subject}: ${name}, vers=${version}`, inKernel, () => {
        const mount = new MountedFileSystem(name, version, makeDetour);
        before(() => mount.start());
        after(() => mount.end());
        define(mount);
      });
    }
  }
}
