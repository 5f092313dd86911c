import {
  type AttributeChanges,
  type Attributes,
  type Credentials,
  type Directory,
  FileSystemError,
  FileSystemStatus,
  FileType,
  type Name,
  type Node,
  type RegularFile,
} from "../../../src/nfs/file-system.ts";
import {
  type BuildDirectory,
  type BuildDirectoryOptions,
  contentChunks,
  type Fault,
  FileTree,
  type FileTreeOptions,
  MemoryFilePool,
  type TreeDirectory,
} from "../../../src/vfs/index.ts";
import { FakeInputSource, type Tree } from "./fake-input-source.ts";

export const USER: Credentials = { userId: 1000, groupId: 100, supplementaryGroupIds: [] };

/** A clock that stands still until it is told to go on. */
export class FakeClock {
  seconds = 1_700_000_000;
  milliseconds = 0;

  now() {
    this.seconds++;
    return { seconds: this.seconds, nanoseconds: 0 };
  }

  monotonic(): number {
    return this.milliseconds;
  }
}

export interface Fixture {
  source: FakeInputSource;
  clock: FakeClock;
  pool: MemoryFilePool;
  tree: FileTree;
  build: BuildDirectory;
  /** The input root, at `root` in the build directory. */
  root: TreeDirectory;
  faults: Fault[];
}

export async function makeFixture(
  inputs: Tree,
  options: Partial<FileTreeOptions> & { build?: BuildDirectoryOptions } = {},
): Promise<Fixture> {
  const source = new FakeInputSource();
  const clock = new FakeClock();
  const pool = new MemoryFilePool(100_000_000);
  const tree = new FileTree({ source, pool, clock, ...options });
  const faults: Fault[] = [];
  const build = tree.createBuildDirectory("action", {
    onFault: (fault) => faults.push(fault),
    ...options.build,
  });
  const root = await build.attachInputRoot(["root"], source.addTree(inputs));
  return { source, clock, pool, tree, build, root, faults };
}

export async function lookup<T extends Node = Node>(directory: Directory, name: Name): Promise<T> {
  const node = await directory.lookup(name);
  if (node === undefined) {
    throw new FileSystemError(FileSystemStatus.NOENT, `no ${name}`);
  }
  return node as T;
}

export async function attributesOf(node: Node): Promise<Attributes> {
  return { ...(await node.attributes()) };
}

export async function contentOf(node: Node): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of contentChunks(node as RegularFile)) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export async function write(
  directory: Directory,
  name: Name,
  offset: number,
  data: string,
): Promise<RegularFile> {
  const found = await lookup<RegularFile>(directory, name);
  const file = await directory.openForWriting(name, found, false);
  await file.write(offset, Buffer.from(data), false);
  return file;
}

/** All entries, read in pages of `pageLength`. */
export async function list(directory: Directory, pageLength = Number.POSITIVE_INFINITY) {
  const found: { name: Name; cookie: number; node: Node }[] = [];
  for (let done = false; !done; ) {
    const before = found.length;
    done = await directory.readDirectory(found.at(-1)?.cookie ?? 0, (name, cookie, node) => {
      if (found.length - before === pageLength) {
        return false;
      }
      found.push({ name, cookie, node });
      return true;
    });
  }
  return found;
}

export async function namesIn(directory: Directory): Promise<Name[]> {
  return (await list(directory)).map(({ name }) => name);
}

/** What an operation ends with: "ok", or the status that it throws. */
export async function outcome(operation: () => unknown): Promise<"ok" | FileSystemStatus> {
  try {
    await operation();
    return "ok";
  } catch (error) {
    if (error instanceof FileSystemError) {
      return error.status;
    }
    throw error;
  }
}

/** SETATTR by path as Linux does it: once more, with a lookup that bypasses its caches, where the first is stale. */
export async function setAttributesByPath(
  directory: Directory,
  name: Name,
  changes: AttributeChanges,
): Promise<void> {
  await retryStale(async () => {
    const node = await lookup(directory, name);
    await node.setAttributes(changes);
  });
}

/** link(2) as Linux does it. */
export async function linkByPath(from: Directory, name: Name, to: Directory, newName: Name): Promise<void> {
  await retryStale(async () => {
    const node = await lookup(from, name);
    await to.link(newName, node);
  });
}

async function retryStale(operation: () => Promise<void>): Promise<void> {
  if ((await outcome(operation)) !== "ok") {
    await operation();
  }
}

export function isDirectory(node: Node | undefined): node is Directory {
  return node?.type === FileType.DIRECTORY;
}
