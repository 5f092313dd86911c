import { eachAtMost } from "../../../async/each-at-most.ts";
import { StatusError, status } from "../../../grpc/status.ts";
import type { Credentials, Name } from "../../../nfs/file-system.ts";
import { FileType } from "../../../nfs/file-system.ts";
import type { Command } from "../../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../../proto/gen/google/rpc/code_pb.ts";
import type { ActionFolder } from "../action-files.ts";

/** Longer paths cannot be given to a system call (PATH_MAX, less its NUL). */
const MAXIMUM_PATH_BYTES = 4095;
/** Of a path that is refused, in the message. */
const QUOTED_CHARACTERS = 200;
/** Directories that are looked up, or made, at a time, of one directory. */
const CONCURRENT_DIRECTORIES = 64;

const TOO_LONG = `is longer than ${MAXIMUM_PATH_BYTES} bytes from the input root`;

/** Which of Command's fields declared an output; the older two prescribe its type. */
export type OutputKind = "path" | "file" | "directory";

export interface ExpectedOutput {
  readonly kind: OutputKind;
  /** As the client spelled them: several spellings may mean the same place. */
  readonly paths: string[];
}

/** A directory that holds expected outputs or leads to some. */
export interface OutputDirectoryNode {
  readonly outputs: Map<Name, ExpectedOutput>;
  readonly children: Map<Name, OutputDirectoryNode>;
}

export interface OutputHierarchy {
  readonly root: OutputDirectoryNode;
  /** Defined if the input root itself is an output. */
  readonly inputRootOutput: ExpectedOutput | undefined;
}

/**
 * The places of a command's outputs in its input root. As in REAPI, `output_paths`, if used, replaces the older
 * `output_files` and `output_directories`.
 *
 * Throws StatusError INVALID_ARGUMENT naming a path that is absolute, leaves the input root, or is impossible: longer
 * than 4095 bytes from the input root, or with a name of more than 255.
 */
export function outputHierarchyOf(command: Command): OutputHierarchy {
  const workingDirectory = resolvePath([], command.workingDirectory, "working directory");
  const root = emptyNode();
  const inputRootOutputs = new Map<Name, ExpectedOutput>();

  const add = (path: string, kind: OutputKind, what: string): void => {
    const components = resolvePath(workingDirectory, path, what);
    const name = components.pop();
    const outputs = name === undefined ? inputRootOutputs : nodeAt(root, components).outputs;
    const known = outputs.get(name ?? "");
    if (known === undefined) {
      outputs.set(name ?? "", { kind, paths: [path] });
    } else {
      known.paths.push(path);
    }
    if (kind === "directory" && name !== undefined) {
      nodeAt(root, [...components, name]);
    }
  };

  if (command.outputPaths.length > 0) {
    for (const path of command.outputPaths) {
      add(path, "path", "output path");
    }
  } else {
    for (const path of command.outputFiles) {
      add(path, "file", "output file");
    }
    for (const path of command.outputDirectories) {
      add(path, "directory", "output directory");
    }
  }
  return { root, inputRootOutput: inputRootOutputs.get("") };
}

function emptyNode(): OutputDirectoryNode {
  return { outputs: new Map(), children: new Map() };
}

function nodeAt(root: OutputDirectoryNode, components: readonly Name[]): OutputDirectoryNode {
  let node = root;
  for (const component of components) {
    let child = node.children.get(component);
    if (child === undefined) {
      child = emptyNode();
      node.children.set(component, child);
    }
    node = child;
  }
  return node;
}

/** The names that lead from the input root to `path`, which is relative to `base`. */
function resolvePath(base: readonly Name[], path: string, what: string): Name[] {
  const refuse = (reason: string): StatusError =>
    new StatusError(status(Code.INVALID_ARGUMENT, `${what} ${quoted(path)} ${reason}`));
  if (path.startsWith("/")) {
    throw refuse("is absolute; it must be relative");
  }
  if (path.includes("\0")) {
    throw refuse("has a NUL character");
  }
  if (path.length > MAXIMUM_PATH_BYTES) {
    throw refuse(TOO_LONG);
  }
  const components = [...base];
  for (const component of path.split("/")) {
    if (component === "..") {
      if (components.pop() === undefined) {
        throw refuse("lies outside the input root");
      }
    } else if (component !== "" && component !== ".") {
      const name = Buffer.from(component, "utf8").toString("latin1");
      if (name.length > 255) {
        throw refuse("has a component of more than 255 bytes");
      }
      components.push(name);
    }
  }
  // With a slash after each but the last.
  if (components.reduce((sum, { length }) => sum + length + 1, -1) > MAXIMUM_PATH_BYTES) {
    throw refuse(TOO_LONG);
  }
  return components;
}

function quoted(path: string): string {
  const start = JSON.stringify(path.slice(0, QUOTED_CHARACTERS));
  return path.length > QUOTED_CHARACTERS ? `${start}… (${path.length} characters)` : start;
}

/**
 * Makes missing directories in which outputs will lie, or that are outputs by `output_directories`. Must be done
 * before the command runs, as its kernel remembers absent names.
 *
 * Throws StatusError INVALID_ARGUMENT if something other than a directory has the name.
 */
export async function createParentDirectories(
  hierarchy: OutputHierarchy,
  inputRoot: ActionFolder,
  owner: Credentials,
): Promise<void> {
  await createChildren(hierarchy.root, inputRoot, "", owner);
}

async function createChildren(
  node: OutputDirectoryNode,
  directory: ActionFolder,
  path: string,
  owner: Credentials,
): Promise<void> {
  await eachAtMost(CONCURRENT_DIRECTORIES, node.children, async ([name, child]) => {
    const childPath = path + displayName(name);
    if (isOutputOnly(child) && (await directory.lookup(name)) !== undefined) {
      return;
    }
    const childDirectory = await ensureDirectory(directory, name, childPath, owner);
    await createChildren(child, childDirectory, `${childPath}/`, owner);
  });
}

/** An output by `output_directories` with no other outputs in it; the command may replace what is there. */
function isOutputOnly({ outputs, children }: OutputDirectoryNode): boolean {
  return outputs.size === 0 && children.size === 0;
}

/**
 * The directory `name` in `parent`, made if there is no such entry. Throws StatusError INVALID_ARGUMENT, naming
 * `path`, if it is something else.
 */
export async function ensureDirectory(
  parent: ActionFolder,
  name: Name,
  path: string,
  owner: Credentials,
): Promise<ActionFolder> {
  const found = await parent.lookup(name);
  if (found === undefined) {
    return parent.createDirectory(name, owner, { mode: 0o777 });
  }
  if (found.type !== FileType.DIRECTORY) {
    throw new StatusError(
      status(
        Code.INVALID_ARGUMENT,
        `${JSON.stringify(path)} in the input root must be a directory and is not`,
      ),
    );
  }
  return found;
}

/** A name as text, for messages and for fields that hold UTF-8. */
export function displayName(name: Name): string {
  return Buffer.from(name, "latin1").toString("utf8");
}
