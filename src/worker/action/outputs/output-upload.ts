import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { eachAtMost } from "../../../async/each-at-most.ts";
import { Semaphore } from "../../../async/semaphore.ts";
import { StatusError, status } from "../../../grpc/status.ts";
import type { Name } from "../../../nfs/file-system.ts";
import { FileType } from "../../../nfs/file-system.ts";
import {
  DirectorySchema,
  type FileNodeSchema,
  type LogFile,
  LogFileSchema,
  type OutputDirectory,
  OutputDirectorySchema,
  type OutputFile,
  OutputFileSchema,
  type OutputSymlink,
  OutputSymlinkSchema,
} from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../proto/gen/google/rpc/code_pb.ts";
import { computeDigest, type Digest, type DigestFunction, digestKey } from "../../../reapi/digest.ts";
import { digestMessage } from "../../../reapi/wire-digest.ts";
import { normalTarget } from "../../../vfs/index.ts";
import type { ActionFile, ActionFolder, ActionNode } from "../action-files.ts";
import {
  displayName,
  type ExpectedOutput,
  type OutputDirectoryNode,
  type OutputHierarchy,
} from "./output-hierarchy.ts";
import type { DescribeNode } from "./output-node-properties.ts";

/** How many of an action's files are uploaded at a time. Each may have up to 64 KiB in memory meanwhile. */
const CONCURRENT_FILES = 256;

/** Where outputs go. Both methods resolve once the blob is in the CAS. */
export interface OutputUploader {
  readonly instanceName: string;
  readonly digestFunction: DigestFunction;
  /** `path` is for errors. */
  uploadFile(file: ActionFile, path: string): Promise<Digest>;
  uploadBytes(digest: Digest, bytes: Uint8Array): Promise<void>;
}

/** ActionResult's fields about outputs. */
export interface Outputs {
  readonly outputFiles: OutputFile[];
  readonly outputDirectories: OutputDirectory[];
  readonly outputSymlinks: OutputSymlink[];
  readonly outputFileSymlinks: OutputSymlink[];
  readonly outputDirectorySymlinks: OutputSymlink[];
  /** The first error; the lists have what could be uploaded all the same. */
  error: unknown;
}

/**
 * Uploads those expected outputs that exist; a missing one is not an error. Directories are described by a Tree with
 * parents before their children and, with `rootDirectories`, by Directory messages in the CAS as well.
 */
export async function uploadOutputs(
  hierarchy: OutputHierarchy,
  inputRoot: ActionFolder,
  uploader: OutputUploader,
  rootDirectories: boolean,
  describeNode: DescribeNode,
): Promise<Outputs> {
  const upload = new OutputUpload(uploader, rootDirectories, describeNode);
  if (hierarchy.inputRootOutput !== undefined) {
    await upload.attempt(() => upload.directory(hierarchy.inputRootOutput!, inputRoot, ""));
  }
  await upload.node(hierarchy.root, inputRoot, "");
  return upload.sorted();
}

/** Uploads the files below a directory, as ExecuteResponse.server_logs has them: by path. */
export async function uploadServerLogs(
  directory: ActionFolder,
  uploader: OutputUploader,
): Promise<Record<string, LogFile>> {
  const logs: Record<string, LogFile> = {};
  const files = new Semaphore(CONCURRENT_FILES);
  const visit = async (current: ActionFolder, prefix: string): Promise<void> => {
    await Promise.all(
      (await entriesOf(current)).map(async ([name, node]) => {
        const path = prefix + displayName(name);
        if (node.type === FileType.REGULAR) {
          const digest = await files.run(undefined, () => uploader.uploadFile(node, path));
          logs[path] = create(LogFileSchema, { digest: digestMessage(digest) });
        } else if (node.type === FileType.DIRECTORY) {
          await visit(node, `${path}/`);
        }
      }),
    );
  };
  await visit(directory, "");
  return logs;
}

class OutputUpload {
  readonly #uploader: OutputUploader;
  readonly #rootDirectories: boolean;
  readonly #describeNode: DescribeNode;
  readonly #files = new Semaphore(CONCURRENT_FILES);
  readonly #outputs: Outputs = {
    outputFiles: [],
    outputDirectories: [],
    outputSymlinks: [],
    outputFileSymlinks: [],
    outputDirectorySymlinks: [],
    error: undefined,
  };

  constructor(uploader: OutputUploader, rootDirectories: boolean, describeNode: DescribeNode) {
    this.#uploader = uploader;
    this.#rootDirectories = rootDirectories;
    this.#describeNode = describeNode;
  }

  /** Sorted by path, so that equal results are equal messages. */
  sorted(): Outputs {
    for (const list of Object.values(this.#outputs)) {
      if (Array.isArray(list)) {
        list.sort((a: { path: string }, b: { path: string }) => (a.path < b.path ? -1 : 1));
      }
    }
    return this.#outputs;
  }

  /** Keeps the first error and goes on, so that whoever looks for its cause has the other outputs. */
  async attempt(step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.#outputs.error ??= error;
    }
  }

  async node(node: OutputDirectoryNode, directory: ActionFolder, prefix: string): Promise<void> {
    const outputs = eachAtMost(CONCURRENT_FILES, node.outputs, ([name, output]) =>
      this.attempt(async () => {
        const found = await directory.lookup(name);
        if (found !== undefined) {
          await this.#output(output, found, prefix + displayName(name));
        }
      }),
    );
    const children = eachAtMost(CONCURRENT_FILES, node.children, ([name, child]) =>
      this.attempt(async () => {
        const found = await directory.lookup(name);
        if (found?.type === FileType.DIRECTORY) {
          await this.node(child, found, `${prefix}${displayName(name)}/`);
        } else if (found !== undefined && child.outputs.size + child.children.size > 0) {
          // As Buildbarn: a success without these outputs would be cached.
          throw new StatusError(
            status(
              Code.UNKNOWN,
              `the parent ${JSON.stringify(prefix + displayName(name))} of outputs is not a directory`,
            ),
          );
        }
      }),
    );
    await Promise.all([outputs, children]);
  }

  async #output(output: ExpectedOutput, node: ActionNode, path: string): Promise<void> {
    switch (node.type) {
      case FileType.REGULAR:
        requireKind(output, "file", "regular file", path);
        return this.#file(output, node, path);
      case FileType.DIRECTORY:
        requireKind(output, "directory", "directory", path);
        return this.directory(output, node, path);
      case FileType.SYMLINK:
        return this.#symlink(output, node.target, path);
      default:
        throw new StatusError(
          status(
            Code.INVALID_ARGUMENT,
            `output ${JSON.stringify(path)} is neither a regular file nor a directory nor a symbolic link`,
          ),
        );
    }
  }

  async #file({ paths }: ExpectedOutput, file: ActionFile, path: string): Promise<void> {
    const isExecutable = await executable(file);
    const digest = await this.#uploadFile(file, path);
    const properties = await this.#describeNode(file);
    for (const path of paths) {
      this.#outputs.outputFiles.push(create(OutputFileSchema, { path, digest, isExecutable, ...properties }));
    }
  }

  #symlink({ kind, paths }: ExpectedOutput, targetBytes: Uint8Array, path: string): void {
    const target = normalTarget(utf8(targetBytes, () => `the target of output ${JSON.stringify(path)}`));
    const list = {
      path: this.#outputs.outputSymlinks,
      file: this.#outputs.outputFileSymlinks,
      directory: this.#outputs.outputDirectorySymlinks,
    }[kind];
    for (const path of paths) {
      list.push(create(OutputSymlinkSchema, { path, target }));
    }
  }

  async directory({ paths }: ExpectedOutput, directory: ActionFolder, path: string): Promise<void> {
    const { instanceName, digestFunction } = this.#uploader;
    const root = await this.#describe(directory, path === "" ? "" : `${path}/`);
    const directories = topologicallySorted(root);
    const tree = encodeTree(directories);
    const treeDigest = computeDigest(instanceName, digestFunction, tree);
    const uploads = [this.#uploader.uploadBytes(treeDigest, tree)];
    if (this.#rootDirectories) {
      uploads.push(...directories.map(({ digest, encoded }) => this.#uploader.uploadBytes(digest, encoded)));
    }
    await Promise.all(uploads);
    for (const path of paths) {
      this.#outputs.outputDirectories.push(
        create(OutputDirectorySchema, {
          path,
          treeDigest: digestMessage(treeDigest),
          isTopologicallySorted: true,
          ...(this.#rootDirectories && { rootDirectoryDigest: digestMessage(root.digest) }),
        }),
      );
    }
  }

  /** Uploads the files below a directory, and makes its Directory message and those below it. */
  async #describe(directory: ActionFolder, prefix: string): Promise<DescribedDirectory> {
    const { instanceName, digestFunction } = this.#uploader;
    const entries = (await entriesOf(directory)).map(([name, node]) => ({
      name: utf8(
        Buffer.from(name, "latin1"),
        () => `the name ${JSON.stringify(prefix + displayName(name))} in an output directory`,
      ),
      nameBytes: name,
      node,
    }));
    // REAPI's order: by the names' bytes.
    entries.sort((a, b) => (a.nameBytes < b.nameBytes ? -1 : 1));

    const [files, children] = await Promise.all([
      Promise.all(
        entries.flatMap(({ name, node }) =>
          node.type === FileType.REGULAR ? this.#fileNode(name, node, prefix + name) : [],
        ),
      ),
      Promise.all(
        entries.flatMap(({ name, node }) =>
          node.type === FileType.DIRECTORY
            ? this.#describe(node, `${prefix}${name}/`).then((child) => ({ name, child }))
            : [],
        ),
      ),
    ]);
    const symlinks = entries.flatMap(({ name, node }) =>
      node.type === FileType.SYMLINK
        ? {
            name,
            target: normalTarget(utf8(node.target, () => `the target of ${JSON.stringify(prefix + name)}`)),
          }
        : [],
    );
    const directories = children.map(({ name, child }) => ({ name, digest: digestMessage(child.digest) }));
    const properties = await this.#describeNode(directory);
    const message = create(DirectorySchema, { files, directories, symlinks, ...properties });
    const encoded = toBinary(DirectorySchema, message);
    return {
      encoded,
      digest: computeDigest(instanceName, digestFunction, encoded),
      children: children.map(({ child }) => child),
    };
  }

  async #fileNode(
    name: string,
    file: ActionFile,
    path: string,
  ): Promise<MessageInitShape<typeof FileNodeSchema>> {
    const isExecutable = await executable(file);
    const digest = await this.#uploadFile(file, path);
    return { name, isExecutable, digest, ...(await this.#describeNode(file)) };
  }

  async #uploadFile(file: ActionFile, path: string): Promise<ReturnType<typeof digestMessage>> {
    return digestMessage(await this.#files.run(undefined, () => this.#uploader.uploadFile(file, path)));
  }
}

interface DescribedDirectory {
  readonly encoded: Uint8Array;
  readonly digest: Digest;
  readonly children: readonly DescribedDirectory[];
}

/** Every distinct directory once, parents before children: the reverse of the order in which the walk leaves them. */
function topologicallySorted(root: DescribedDirectory): DescribedDirectory[] {
  const ended = new Map<string, DescribedDirectory>();
  // Without recursion: an action can nest directories as deep as it likes.
  const path = [{ directory: root, nextChild: 0 }];
  for (let visit = path.at(-1); visit !== undefined; visit = path.at(-1)) {
    const { directory } = visit;
    const child = directory.children[visit.nextChild++];
    if (child === undefined) {
      ended.set(digestKey(directory.digest), directory);
      path.pop();
    } else if (!ended.has(digestKey(child.digest))) {
      path.push({ directory: child, nextChild: 0 });
    }
  }
  return [...ended.values()].reverse();
}

/** A Tree message of already encoded directories. */
function encodeTree([root, ...children]: readonly DescribedDirectory[]): Uint8Array {
  const writer = new BinaryWriter();
  writer.tag(1, WireType.LengthDelimited).bytes(root!.encoded);
  for (const child of children) {
    writer.tag(2, WireType.LengthDelimited).bytes(child.encoded);
  }
  return writer.finish();
}

/** REAPI prescribes FAILED_PRECONDITION for an older field's output that is of the other kind. */
function requireKind(output: ExpectedOutput, kind: "file" | "directory", found: string, path: string): void {
  if (output.kind !== "path" && output.kind !== kind) {
    throw new StatusError(
      status(
        Code.FAILED_PRECONDITION,
        `output ${output.kind} ${JSON.stringify(path)} turned out to be a ${found}`,
      ),
    );
  }
}

async function executable(file: ActionFile): Promise<boolean> {
  return ((await file.attributes()).mode & 0o111) !== 0;
}

async function entriesOf(directory: ActionFolder): Promise<[Name, ActionNode][]> {
  const entries: [Name, ActionNode][] = [];
  let last = 0;
  const visit = (name: Name, cookie: number, node: ActionNode): boolean => {
    entries.push([name, node]);
    last = cookie;
    return true;
  };
  while (!(await directory.readDirectory(last, visit))) {}
  return entries;
}

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function utf8(bytes: Uint8Array, what: () => string): string {
  try {
    return DECODER.decode(bytes);
  } catch {
    throw new StatusError(status(Code.INVALID_ARGUMENT, `${what()} is not UTF-8, which REAPI requires`));
  }
}
