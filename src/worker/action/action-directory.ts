import type { BuildDirectory, BuildDirectoryOptions, FileTree, Owner, QuotaLimits } from "../../vfs/index.ts";

/** An action's directory, and where it is in the mount. */
export interface ActionDirectory extends AsyncDisposable {
  /** Relative to the mount. */
  readonly path: string;
  readonly build: BuildDirectory;
  /** Waits until the kernel has handed over everything written to the mount, through mmap(2) as well. */
  sync(): Promise<void>;
}

/**
 * Makes directories for actions.
 *
 * `onFault` and `onWait` are those of {@link BuildDirectoryOptions}.
 */
export type CreateActionDirectory = (
  hooks?: Pick<BuildDirectoryOptions, "onFault" | "onWait">,
) => ActionDirectory;

export interface ActionDirectoryOptions {
  readonly tree: FileTree;
  readonly owner: Owner;
  readonly quota: QuotaLimits;
  /** A name that the tree has never had: kernels remember names for long. */
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
  return (hooks) => {
    const path = nextName();
    const build = tree.createBuildDirectory(path, { owner, quota, ...hooks });
    return { path, build, sync, [Symbol.asyncDispose]: () => build.remove() };
  };
}
