import type { Digest } from "../../reapi/digest.ts";
import type { BuildDirectory, BuildDirectoryOptions, FileTree, Owner, QuotaLimits } from "../../vfs/index.ts";

/** An action's directory, and where it is in the mount. */
export interface ActionDirectory extends AsyncDisposable {
  /** Relative to the mount. */
  readonly path: string;
  readonly build: BuildDirectory;
  /** Waits until whoever looks for {@link path} in the mount finds this directory, whatever had that name before. */
  untilVisible(): Promise<void>;
  /** Waits until the kernel has handed over everything written to the mount, through mmap(2) as well. */
  sync(): Promise<void>;
}

export interface NewActionDirectory extends Pick<BuildDirectoryOptions, "onFault" | "onWait"> {
  /** Of the action, if the scheduler has no second one run at the same time: it then has the same path each time. */
  readonly action?: Digest | undefined;
}

/** Makes directories for actions. */
export type CreateActionDirectory = (options?: NewActionDirectory) => ActionDirectory;

export interface ActionDirectoryOptions {
  readonly tree: FileTree;
  readonly owner: Owner;
  readonly quota: QuotaLimits;
  /** A name that the tree does not have. */
  readonly nameFor: (action: Digest | undefined) => string;
  /** Has the kernel see names as they are: it remembers them for long. */
  readonly refreshNames: () => Promise<void>;
  readonly sync: () => Promise<void>;
}

export function actionDirectories({
  tree,
  owner,
  quota,
  nameFor,
  refreshNames,
  sync,
}: ActionDirectoryOptions): CreateActionDirectory {
  return ({ action, ...hooks } = {}) => {
    const path = nameFor(action);
    const build = tree.createBuildDirectory(path, { owner, quota, ...hooks });
    return { path, build, untilVisible: refreshNames, sync, [Symbol.asyncDispose]: () => build.remove() };
  };
}
