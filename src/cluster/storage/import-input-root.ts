import { readdir, readlink, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { extname, join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { Piscina } from "piscina";
import { DirectorySchema } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { computeDigest, type Digest, SHA256 } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { BlobStore } from "./blob-store.ts";
import type { ImportedFile, ImportTask } from "./import-worker.ts";

/** One thing in an input root. Directories above it need no entry of their own. */
export type InputRootEntry = {
  /** Below the root, "usr/bin/cc": without `.`, `..` and empty parts. */
  readonly path: string;
} & (
  | { readonly type: "directory" }
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "file"; readonly isExecutable: boolean; readonly hostPath: string }
  | { readonly type: "file"; readonly isExecutable: boolean; readonly content: Uint8Array }
);

/** An input root that has been put into the CAS. */
export interface ImportedInputRoot {
  readonly digest: Digest;
  readonly files: number;
  /** With the root. */
  readonly directories: number;
  readonly symlinks: number;
  /** Sum of the files' sizes; a file that occurs twice counts twice. */
  readonly bytes: number;
  /** Digests of files by path. */
  readonly fileDigests: ReadonlyMap<string, Digest>;
}

interface File {
  readonly digest: Digest;
  readonly isExecutable: boolean;
}

interface Folder {
  readonly folders: Map<string, Folder>;
  readonly files: Map<string, File>;
  readonly symlinks: Map<string, string>;
}

const FILES_PER_TASK = 64;

/**
 * Puts files of this machine into the store and makes the Directory messages for them. Several threads read and
 * hash the files. An entry replaces an earlier one of the same path.
 *
 * Throws for a path that cannot be one in an input root, and for a file that cannot be read.
 */
export async function importInputRoot(
  store: BlobStore,
  entries: Iterable<InputRootEntry> | AsyncIterable<InputRootEntry>,
): Promise<ImportedInputRoot> {
  const root = newFolder();
  const fileDigests = new Map<string, Digest>();
  const place = (path: string, isExecutable: boolean, digest: Digest) => {
    const [folder, name] = locate(root, path);
    folder.files.set(name, { digest, isExecutable });
    folder.symlinks.delete(name);
    fileDigests.set(path, digest);
  };
  const onHost: { path: string; isExecutable: boolean; hostPath: string }[] = [];
  for await (const entry of entries) {
    const [folder, name] = locate(root, entry.path);
    if (entry.type === "directory") {
      subfolder(folder, name);
    } else if (entry.type === "symlink") {
      folder.symlinks.set(name, entry.target);
      folder.files.delete(name);
    } else if ("hostPath" in entry) {
      onHost.push(entry);
    } else {
      const digest = computeDigest("", SHA256, entry.content);
      await store.put(digest, entry.content);
      place(entry.path, entry.isExecutable, digest);
    }
  }
  await importFiles(
    store,
    onHost.map((entry) => entry.hostPath),
    (index, digest) => {
      const entry = onHost[index]!;
      place(entry.path, entry.isExecutable, digest);
    },
  );
  const counts = { files: 0, directories: 0, symlinks: 0, bytes: 0 };
  const digest = await storeFolder(store, root, counts);
  return { digest, ...counts, fileDigests };
}

/** What is below a folder of this machine, for {@link importInputRoot}; sockets, devices and pipes are skipped. */
export async function* entriesBelow(hostPath: string, path = ""): AsyncGenerator<InputRootEntry> {
  for (const entry of await readdir(hostPath, { withFileTypes: true })) {
    const entryHostPath = join(hostPath, entry.name);
    const entryPath = path === "" ? entry.name : `${path}/${entry.name}`;
    if (entry.isDirectory()) {
      yield { path: entryPath, type: "directory" };
      yield* entriesBelow(entryHostPath, entryPath);
    } else if (entry.isSymbolicLink()) {
      yield { path: entryPath, type: "symlink", target: await readlink(entryHostPath) };
    } else if (entry.isFile()) {
      const { mode } = await stat(entryHostPath);
      yield { path: entryPath, type: "file", isExecutable: (mode & 0o111) !== 0, hostPath: entryHostPath };
    }
  }
}

function newFolder(): Folder {
  return { folders: new Map(), files: new Map(), symlinks: new Map() };
}

function subfolder(folder: Folder, name: string): Folder {
  const child = folder.folders.get(name) ?? newFolder();
  folder.folders.set(name, child);
  return child;
}

/** The folder that holds the path's last part, made if it does not exist, and that part. */
function locate(root: Folder, path: string): [Folder, string] {
  const names = path.split("/");
  if (names.some((name) => name === "" || name === "." || name === ".." || name.includes("\0"))) {
    throw new Error(`${JSON.stringify(path)} is not a path below an input root, such as "usr/bin/cc"`);
  }
  const last = names.pop()!;
  return [names.reduce(subfolder, root), last];
}

async function importFiles(
  store: BlobStore,
  hostPaths: readonly string[],
  imported: (index: number, digest: Digest) => void,
): Promise<void> {
  if (hostPaths.length === 0) {
    return;
  }
  const pool = new Piscina<ImportTask, ImportedFile[]>({
    filename: new URL(`./import-worker${extname(import.meta.filename)}`, import.meta.url).href,
    maxThreads: Math.min(availableParallelism(), Math.ceil(hostPaths.length / FILES_PER_TASK)),
  });
  try {
    const tasks = [];
    for (let start = 0; start < hostPaths.length; start += FILES_PER_TASK) {
      const task = {
        folder: store.folder,
        temporaryPath: store.temporaryPath(),
        hostPaths: hostPaths.slice(start, start + FILES_PER_TASK),
      };
      tasks.push(
        pool.run(task).then((files) => {
          files.forEach(({ hash, sizeBytes }, index) => {
            const digest = { instanceName: "", function: SHA256, hash, sizeBytes };
            store.noteStored(digest);
            imported(start + index, digest);
          });
        }),
      );
    }
    await Promise.all(tasks);
  } finally {
    await pool.destroy();
  }
}

async function storeFolder(
  store: BlobStore,
  folder: Folder,
  counts: { files: number; directories: number; symlinks: number; bytes: number },
): Promise<Digest> {
  const directories = await Promise.all(
    [...folder.folders].map(async ([name, child]) => ({
      name,
      digest: digestMessage(await storeFolder(store, child, counts)),
    })),
  );
  const files = [...folder.files].map(([name, { digest, isExecutable }]) => {
    counts.bytes += digest.sizeBytes;
    return { name, digest: digestMessage(digest), isExecutable };
  });
  const symlinks = [...folder.symlinks].map(([name, target]) => ({ name, target }));
  counts.files += files.length;
  counts.symlinks += symlinks.length;
  counts.directories++;
  const content = toBinary(
    DirectorySchema,
    create(DirectorySchema, {
      directories: directories.sort(byName),
      files: files.sort(byName),
      symlinks: symlinks.sort(byName),
    }),
  );
  const digest = computeDigest("", SHA256, content);
  await store.put(digest, content);
  return digest;
}

/** REAPI wants names in the order of their code points. */
function byName(a: { name: string }, b: { name: string }): number {
  return Buffer.compare(Buffer.from(a.name), Buffer.from(b.name));
}
