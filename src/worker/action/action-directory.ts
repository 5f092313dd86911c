import type { MaybePromise, Name } from "../../nfs/file-system.ts";
import type { Digest } from "../../reapi/digest.ts";
import type {
  BuildDirectoryOptions,
  FilePoolUsage,
  FileTree,
  InputAccess,
  InputUsage,
  Owner,
  QuotaLimits,
} from "../../vfs/index.ts";
import type { ActionFolder } from "./action-files.ts";

/** An action's directory, and where it is in the build directory. */
export interface ActionDirectory extends AsyncDisposable {
  /** Relative to the build directory. */
  readonly path: string;
  readonly directory: ActionFolder;
  /** What the action did to its files; undefined where nobody can tell. */
  readonly usage: FilePoolUsage | undefined;
  /** What the action has seen of its input root so far; undefined where nobody can tell. */
  inputUsage(): InputUsage | undefined;
  makeDirectory(name: Name): Promise<ActionFolder>;
  /** Makes the input root appear under a name that is not taken. */
  attachInputRoot(name: Name, digest: Digest, options: InputRootOptions): Promise<ActionFolder>;
  /** Waits until whoever looks for {@link path} finds this directory, whatever had that name before. */
  untilVisible(): Promise<void>;
  /** Waits until everything that was written, through mmap(2) as well, can be read from {@link directory}. */
  sync(): Promise<void>;
}

export interface InputRootOptions {
  readonly signal: AbortSignal;
  /** Takes down what is looked at of it, where that can be seen. */
  readonly access: InputAccess | undefined;
}

/** `onFault` and `onWait` are those of {@link BuildDirectoryOptions}. */
export interface ActionDirectoryOptions extends Pick<BuildDirectoryOptions, "onFault" | "onWait"> {
  /** Of an action that does not run several times at once. */
  readonly actionDigest?: Digest | undefined;
}

/** Makes directories for actions. */
export type CreateActionDirectory = (options?: ActionDirectoryOptions) => MaybePromise<ActionDirectory>;

export interface ServedActionDirectoryOptions {
  readonly tree: FileTree;
  readonly owner: Owner;
  readonly quota: QuotaLimits;
  /** A name that the tree does not have. */
  readonly nameFor: (action: Digest | undefined) => string;
  /** Waits until the kernel sees that name as the tree has it: it remembers names for long. */
  readonly untilVisible: (name: string) => Promise<void>;
  /** Waits until everything that was written, by any action, is in the tree. */
  readonly sync: () => Promise<void>;
}

/** In a tree that is served by NFS. */
export function actionDirectories({
  tree,
  owner,
  quota,
  nameFor,
  untilVisible,
  sync,
}: ServedActionDirectoryOptions): CreateActionDirectory {
  return ({ actionDigest, onFault, onWait } = {}) => {
    const path = nameFor(actionDigest);
    const build = tree.createBuildDirectory(path, {
      owner,
      quota,
      ...(onFault && { onFault }),
      ...(onWait && { onWait }),
    });
    return {
      path,
      directory: build.directory,
      usage: build.quota.usage,
      inputUsage: () => build.inputUsage(),
      makeDirectory: (name) => build.makeDirectories([name]),
      attachInputRoot: (name, digest, { access }) => build.attachInputRoot([name], digest, access),
      untilVisible: () => untilVisible(path),
      // A client keeps a file open until all that it has changed of it is written.
      sync: async () => {
        if (build.openFiles > 0) {
          await sync();
        }
      },
      [Symbol.asyncDispose]: () => build.remove(),
    };
  };
}
