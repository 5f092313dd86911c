import { mkdir, realpath } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { MountError, MountHelper } from "./mount-helper.ts";
import { isMounted, type MountTableEntry, readMountTable } from "./mount-table.ts";
import { describeMountFailure, type NfsVersion, nfsMountOptions } from "./nfs-mount-options.ts";

/** Flags of mount(2), from <sys/mount.h>. */
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_SHARED = 1 << 20;

/** Between two attempts to unmount what is in use. */
const retryMilliseconds = 50;

export interface NfsMountSettings {
  /** The server's TCP port on 127.0.0.1. */
  readonly port: number;
  /** The directory of the server to mount: absolute, "/"-separated. */
  readonly serverPath: string;
  /** Where to mount it: absolute. Made if it does not exist. */
  readonly mountPath: string;
  readonly version: NfsVersion;
  /** The operator's options, as in `mount -o`: those of nfs(5), and flags such as "noatime". */
  readonly mountOptions?: readonly string[];
}

/** One mount of a server that runs in this process. Unmounted by force when this process dies. */
export class NfsMount implements AsyncDisposable {
  readonly path: string;
  readonly #helper: MountHelper;
  #syncing: Promise<void> | undefined;
  #syncNext: Promise<void> | undefined;

  private constructor(path: string, helper: MountHelper) {
    this.path = path;
    this.#helper = helper;
  }

  /**
   * Mounts the server, after removing what an earlier run may have left at the same place. The server must be
   * answering meanwhile. Throws a {@link MountError} that says what the kernel lacks or refuses; when the signal
   * aborts, the mount is given up and its reason thrown.
   */
  static async mount(settings: NfsMountSettings, signal?: AbortSignal): Promise<NfsMount> {
    const { flags, data } = nfsMountOptions(settings.port, settings.version, settings.mountOptions);
    const path = await withoutSymlinks(settings.mountPath);
    const helper = new MountHelper();
    const giveUp = () => void helper.close();
    try {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", giveUp);
      await clearStaleMountsWith(helper, path);
      await mkdir(path, { recursive: true });
      const source = `127.0.0.1:${settings.serverPath}`;
      const error = await helper.mount({ source, target: path, type: "nfs4", flags, data, supervised: true });
      if (error !== "") throw new MountError(describeMountFailure(error, path, data), error);
      signal?.throwIfAborted();
      return new NfsMount(path, helper);
    } catch (error) {
      await helper.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /**
   * Has the kernel write everything that was written to the mount so far to the server. Calls that come while one
   * is under way share the next one, so that many actions ending at once cost two.
   */
  sync(): Promise<void> {
    if (this.#syncing === undefined) {
      this.#syncing = this.#sync().finally(() => {
        this.#syncing = undefined;
      });
      return this.#syncing;
    }
    this.#syncNext ??= this.#syncing
      .catch(() => {})
      .then(() => {
        this.#syncNext = undefined;
        return this.sync();
      });
    return this.#syncNext;
  }

  async #sync(): Promise<void> {
    const error = await this.#helper.sync(this.path);
    if (error !== "") throw new MountError(`cannot write ${this.path} back to its server: ${error}`, error);
  }

  /**
   * Unmounts: gently while processes still use it, for up to `graceMilliseconds`, then by force. The server must
   * keep answering meanwhile. Throws a {@link MountError} if the mount could not be removed at all.
   */
  async unmount(graceMilliseconds = 2000): Promise<void> {
    try {
      await unmountWith(this.#helper, this.path, graceMilliseconds);
    } finally {
      await this.#helper.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount();
  }
}

/**
 * Removes by force the NFS mounts that an earlier run has left at the path, also several upon each other. Something
 * else mounted there stays.
 */
export async function clearStaleMounts(path: string): Promise<void> {
  const realPath = await withoutSymlinks(path);
  if (staleMounts(realPath) === 0) return;
  const helper = new MountHelper();
  try {
    await clearStaleMountsWith(helper, realPath);
  } finally {
    await helper.close();
  }
}

/**
 * Makes a directory a mount of its own whose later mounts are seen in other mount namespaces (a shared mount, see
 * mount_namespaces(7)). Made if it does not exist.
 */
export async function shareMounts(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  const target = await realpath(path);
  const helper = new MountHelper();
  const mount = async (source: string, flags: number) => {
    const error = await helper.mount({ source, target, type: "none", flags, data: "", supervised: false });
    if (error !== "") throw new MountError(`cannot make ${path} a shared mount: ${error}`, error);
  };
  try {
    if (!isMounted(target)) await mount(target, MS_BIND | MS_REC);
    await mount("none", MS_SHARED);
  } finally {
    await helper.close();
  }
}

/** As mountinfo names it. The path itself is not looked at, since it may be a mount whose server is gone. */
async function withoutSymlinks(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  return join(await realpath(dirname(path)), basename(path));
}

/** How many NFS mounts lie uppermost at the path. */
export function staleMounts(path: string, table: readonly MountTableEntry[] = readMountTable()): number {
  const stack = table.filter((entry) => entry.mountPoint === path);
  return stack.length - 1 - stack.findLastIndex((entry) => !/^nfs4?$/.test(entry.fileSystemType));
}

async function clearStaleMountsWith(helper: MountHelper, path: string): Promise<void> {
  for (let count = staleMounts(path); count > 0; count--) {
    const error = await helper.forceUnmount(path);
    if (error !== "")
      throw new MountError(`cannot unmount what an earlier run left at ${path}: ${error}`, error);
  }
}

async function unmountWith(helper: MountHelper, path: string, graceMilliseconds: number): Promise<void> {
  const deadline = performance.now() + graceMilliseconds;
  let error = "EBUSY";
  while (error === "EBUSY" && performance.now() < deadline) {
    const answered = new AbortController();
    const remaining = setTimeout(deadline - performance.now(), "EBUSY", { signal: answered.signal });
    remaining.catch(() => {});
    error = await Promise.race([helper.unmount(path), remaining]);
    answered.abort();
    if (error === "EBUSY") await setTimeout(retryMilliseconds);
  }
  // Nothing mounted there: somebody else has unmounted it.
  if (error === "" || error === "EINVAL" || !isMounted(path)) return;
  const forced = await helper.forceUnmount(path);
  if (forced !== "" && isMounted(path)) throw new MountError(`cannot unmount ${path}: ${forced}`, forced);
}
