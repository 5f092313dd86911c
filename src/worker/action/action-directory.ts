import type { BuildDirectory, Fault, FileTree, Owner, QuotaLimits } from "../../vfs/index.ts";

/** One action's directory, and where it is in the mount. */
export interface ActionDirectory extends AsyncDisposable {
  /** Relative to the mount. */
  readonly path: string;
  readonly build: BuildDirectory;
  /** Waits until what was written to the mount has come from the kernel, also through mmap(2). */
  sync(): Promise<void>;
}

/**
 * Makes directories for actions.
 *
 * @param onFault Told what an action met in its file system that is not of its own making.
 */
export type CreateActionDirectory = (onFault?: (fault: Fault) => void) => ActionDirectory;

export interface ActionDirectoryOptions {
  readonly tree: FileTree;
  readonly owner: Owner;
  readonly quota: QuotaLimits;
  /** A name that the tree has not had before: kernels remember names for long. */
  readonly nextName: () => string;
  readonly sync: () => Promise<void>;
}

export function actionDirectories({
  tree,
  owner,
  quota,
  nextName,
  sync,
}: ActionDirectoryOptions): CreateActionDirectory {
  return (onFault) => {
    const path = nextName();
    const build = tree.createBuildDirectory(path, { owner, quota, ...(onFault && { onFault }) });
    return { path, build, sync, [Symbol.asyncDispose]: () => build.remove() };
  };
}
