/** What suites run on: our file systems, mounted as the worker mounts them, and what they are compared with. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { NfsMount, type NfsVersion } from "../../src/mount/index.ts";
import { nfsMountOptions } from "../../src/mount/nfs-mount-options.ts";
import { NfsServer } from "../../src/nfs/index.ts";
import {
  type Files,
  fill,
  findDirectory,
  memory,
  run,
  type TestedFileSystem,
  workersTree,
} from "../kernel/mounted-file-systems.ts";
import { KernelServer } from "./kernel-server.ts";
import type { Place, RemoteDirectory } from "./suite.ts";

const VERSIONS = ["4.0", "4.1", "4.2"] as const satisfies readonly NfsVersion[];
const FILE_SYSTEMS = {
  memory: "the memory file system",
  tree: "the worker's tree, in an empty input root",
  inputs:
    "the worker's tree, within an input root: directories are loaded lazily, files are blobs of the CAS",
  tmpfs: "the kernel's own tmpfs, for comparison",
  nfsd: "the kernel's own NFS server on tmpfs, for comparison",
} as const;

export type FileSystemName = keyof typeof FILE_SYSTEMS;

/** A file system and the version of NFS it is mounted with: "memory 4.1", or "tmpfs", which is mounted directly. */
export interface Target {
  readonly fileSystem: FileSystemName;
  readonly version: NfsVersion | "";
}

export const TARGETS: readonly Target[] = (Object.keys(FILE_SYSTEMS) as FileSystemName[]).flatMap(
  (fileSystem) =>
    (fileSystem === "tmpfs" ? ([""] as const) : VERSIONS).map((version) => ({ fileSystem, version })),
);

export function targetName({ fileSystem, version }: Target): string {
  return version === "" ? fileSystem : `${fileSystem} ${version}`;
}

/** For the help. */
export function describeFileSystems(): string {
  return Object.entries(FILE_SYSTEMS)
    .map(([name, subject]) => `  ${name.padEnd(10)}${subject}`)
    .join("\n");
}

/** A server, for mount(8). */
type Remote = Omit<RemoteDirectory, "source">;

/** EID9 of pynfs needs eleven at least. */
const SHORT_LEASE_SECONDS = 12;

/** A target that is mounted, in the kernel this process runs on. */
export interface MountedTarget extends AsyncDisposable {
  directory(files?: Files): Promise<string>;
  remoteDirectory: Place["remoteDirectory"];
}

export interface MountTargetOptions {
  /** Do not mount it: only {@link MountedTarget.remoteDirectory} can be used. For file systems of ours. */
  readonly serveOnly?: boolean;
}

export async function mountTarget(
  { fileSystem, version }: Target,
  { serveOnly = false }: MountTargetOptions = {},
): Promise<MountedTarget> {
  // Suites also run as users who may not look into root's folders.
  const folder = mkdtempSync(join(tmpdir(), "conformance-"));
  chmodSync(folder, 0o755);
  const stack = new AsyncDisposableStack();
  stack.defer(() => rmSync(folder, { recursive: true, force: true }));
  const mountPath = join(folder, "mount");
  const backing = join(folder, "backing");
  mkdirSync(mountPath);
  try {
    if (fileSystem === "tmpfs") {
      await mount(stack, ["-t", "tmpfs", "-o", "size=2G,mode=755", "tmpfs", mountPath], mountPath);
      return new ForeignTarget(mountPath, mountPath, undefined, stack);
    }
    if (fileSystem === "nfsd") {
      mkdirSync(backing);
      await mount(stack, ["-t", "tmpfs", "-o", "size=2G,mode=755", "tmpfs", backing], backing);
      const server = stack.use(await KernelServer.start(backing));
      const options = remoteOptions(server.port, version as NfsVersion);
      await mount(stack, ["-i", "-t", "nfs4", "-o", options, "127.0.0.1:/", mountPath], mountPath);
      return new ForeignTarget(mountPath, backing, { port: server.port, options }, stack);
    }
    return await OwnTarget.start(fileSystem, version as NfsVersion, folder, serveOnly, stack);
  } catch (error) {
    await stack.disposeAsync();
    throw error;
  }
}

/** The worker's mount options; with "addr" and "clientaddr", so that mount(8) needs no help of mount.nfs. */
function remoteOptions(port: number, version: NfsVersion): string {
  return `${nfsMountOptions(port, version).data},noatime`;
}

async function mount(stack: AsyncDisposableStack, args: readonly string[], path: string): Promise<void> {
  await must("mount", args);
  stack.defer(() => must("umount", [path]));
}

async function must(command: string, args: readonly string[]): Promise<void> {
  const { status, errors } = await run(command, args);
  if (status !== 0) {
    throw new Error(`${command} ${args.join(" ")}: ${errors.trim()}`);
  }
}

/** A file system of the kernel's. */
class ForeignTarget implements MountedTarget {
  readonly #mountPath: string;
  /** The same directory where this process fills it. */
  readonly #backing: string;
  readonly #remote: Remote | undefined;
  readonly #stack: AsyncDisposableStack;
  #directories = 0;

  constructor(mountPath: string, backing: string, remote: Remote | undefined, stack: AsyncDisposableStack) {
    this.#mountPath = mountPath;
    this.#backing = backing;
    this.#remote = remote;
    this.#stack = stack;
  }

  async directory(files: Files = {}): Promise<string> {
    const name = `directory-${++this.#directories}`;
    await fillFolder(join(this.#backing, name), files);
    return join(this.#mountPath, name);
  }

  async remoteDirectory(name: string): Promise<RemoteDirectory | undefined> {
    if (this.#remote === undefined) {
      return undefined;
    }
    await mkdir(join(this.#backing, name));
    return { source: `127.0.0.1:/${name}`, ...this.#remote };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function fillFolder(folder: string, files: Files): Promise<void> {
  await mkdir(folder);
  for (const [name, content] of Object.entries(files)) {
    if (typeof content === "string" || content instanceof Uint8Array) {
      await writeFile(join(folder, name), content);
    } else {
      await fillFolder(join(folder, name), content);
    }
  }
}

/** A file system of ours, served by this process. */
class OwnTarget implements MountedTarget {
  readonly #tested: TestedFileSystem;
  readonly #inputs: boolean;
  readonly #mountPath: string;
  readonly #remote: Remote;
  readonly #stack: AsyncDisposableStack;
  #directories = 0;

  private constructor(
    tested: TestedFileSystem,
    inputs: boolean,
    mountPath: string,
    remote: Remote,
    stack: AsyncDisposableStack,
  ) {
    this.#tested = tested;
    this.#inputs = inputs;
    this.#mountPath = mountPath;
    this.#remote = remote;
    this.#stack = stack;
  }

  static async start(
    name: "memory" | "tree" | "inputs",
    version: NfsVersion,
    folder: string,
    serveOnly: boolean,
    stack: AsyncDisposableStack,
  ): Promise<OwnTarget> {
    const tested = name === "memory" ? memory() : workersTree(folder);
    const faults: unknown[] = [];
    const server = new NfsServer({
      fileSystem: tested.fileSystem,
      // As in the tests of kernel/: Linux 6.1 can panic when it returns NFSv4.0's WRITE delegations.
      delegations: version !== "4.0",
      // A suite that is a client itself waits for leases to run out.
      ...(serveOnly && { leaseSeconds: SHORT_LEASE_SECONDS }),
      onFault: (error) => faults.push(error),
    });
    stack.defer(async () => {
      await server.close();
      await tested.end();
      if (faults.length > 0) {
        throw new AggregateError(faults, `the server had ${faults.length} faults: ${faults[0]}`);
      }
    });
    const port = await server.listen();
    const mountPath = join(folder, "mount");
    if (!serveOnly) {
      const mounted = await NfsMount.mount({ port, serverPath: "/", mountPath, version });
      stack.defer(() => mounted.unmount());
    }
    return new OwnTarget(
      tested,
      name === "inputs",
      mountPath,
      { port, options: remoteOptions(port, version) },
      stack,
    );
  }

  async directory(files: Files = {}): Promise<string> {
    return join(this.#mountPath, await this.#make(`directory-${++this.#directories}`, files));
  }

  async remoteDirectory(name: string): Promise<RemoteDirectory> {
    return { source: `127.0.0.1:/${await this.#make(name, {})}`, ...this.#remote };
  }

  /** Resolves to its path from the root of the file system. */
  async #make(name: string, files: Files): Promise<string> {
    if (this.#inputs) {
      const neighbours = { file: "neighbour", directory: { file: "neighbour" } };
      const root = await this.#tested.makeDirectory(name, {
        ...neighbours,
        lazy: { ...neighbours, here: files },
      });
      return `${root}/lazy/here`;
    }
    const path = await this.#tested.makeDirectory(name, {});
    await fill(await findDirectory(this.#tested.fileSystem, path), files);
    return path;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}
