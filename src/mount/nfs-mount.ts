import { once } from "node:events";
import { mkdir, readFile, realpath } from "node:fs/promises";
import { connect } from "node:net";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { MountError, type MountedAt, MountHelper } from "./mount-helper.ts";
import { isMounted, type MountTableEntry, readMountTable } from "./mount-table.ts";
import { describeMountFailure, type NfsVersion, nfsMountOptions } from "./nfs-mount-options.ts";

/** Flags of mount(2), from <sys/mount.h>. */
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_SHARED = 1 << 20;

/** Between two attempts to unmount a mount that is in use. */
const RETRY_MILLISECONDS = 50;

/** How long it may take to find out whether anything listens at a port of this machine. */
const CONNECT_MILLISECONDS = 2000;

/** How long a worker that has died may still be unmounting (native/bb_mount.c). */
const PREDECESSOR_MILLISECONDS = 6000;

export interface NfsMountSettings {
  /** The server's TCP port on 127.0.0.1. */
  readonly port: number;
  /** The server's directory to mount: absolute, "/"-separated. */
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
  /**
   * Resolves with the reason if the helper ends before `unmount`: nothing can be written back any more, and the mount
   * would outlive this process.
   */
  readonly lost: Promise<MountError>;
  #unmounting = false;
  readonly #at: MountedAt;
  readonly #helper: MountHelper;
  #syncing: Promise<void> | undefined;
  #syncNext: Promise<void> | undefined;

  private constructor(at: MountedAt, helper: MountHelper) {
    this.path = at.target;
    this.#at = at;
    this.#helper = helper;
    const { promise, resolve } = Promise.withResolvers<MountError>();
    this.lost = promise;
    helper.failure.then(({ message }) => {
      if (!this.#unmounting) {
        resolve(new MountError(`${this.path}: ${message}`, "ESRCH"));
      }
    });
  }

  /**
   * Mounts the server, after locking MOUNTPATH.lock and removing what an earlier run may have left at that path. The
   * server must already answer. Throws a {@link MountError} that says what the kernel lacks or refuses, or that another
   * process serves what is mounted there. If the signal aborts, gives up and throws its reason.
   */
  static async mount(settings: NfsMountSettings, signal?: AbortSignal): Promise<NfsMount> {
    const { flags, data } = nfsMountOptions(settings.port, settings.version, settings.mountOptions);
    const path = await withoutSymlinks(settings.mountPath);
    const helper = new MountHelper();
    const giveUp = () => void helper.close();
    try {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", giveUp);
      await clearStaleMountsWith(helper, path, settings.port);
      await mkdir(path, { recursive: true });
      const source = `127.0.0.1:${settings.serverPath}`;
      const { error, mountId } = await helper.mount({
        source,
        target: path,
        type: "nfs4",
        flags,
        data,
        supervised: true,
      });
      if (error !== "") {
        throw new MountError(describeMountFailure(error, path, data), error);
      }
      signal?.throwIfAborted();
      return new NfsMount({ target: path, mountId }, helper);
    } catch (error) {
      await helper.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /**
   * Has the kernel send the server everything written to the mount so far. Calls made while one is under way share the
   * next one, so that many actions ending at once cost two.
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
    const error = await this.#helper.sync(this.#at);
    if (error === "") {
      return;
    }
    const meaning = { ENOENT: ": somebody has unmounted it", EBUSY: ": something else is mounted upon it" }[
      error
    ];
    throw new MountError(`cannot write ${this.path} back to its server: ${error}${meaning ?? ""}`, error);
  }

  /**
   * Unmounts: gently, for up to `graceMilliseconds` while processes still use it, then by force. The server must
   * keep answering meanwhile. Does nothing if somebody else has unmounted it. Throws a {@link MountError} if the
   * mount could not be removed at all, as when another covers it.
   */
  async unmount(graceMilliseconds = 2000): Promise<void> {
    this.#unmounting = true;
    const helper = this.#helper.failed ? new MountHelper() : this.#helper;
    try {
      await unmountWith(helper, this.#at, graceMilliseconds);
    } finally {
      await helper.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount();
  }
}

/**
 * Removes by force the NFS mounts of this machine's servers that an earlier run has left at the path, even several on
 * top of each other. Anything else mounted there stays. Throws a {@link MountError} with EBUSY, and removes nothing,
 * if one of them is still served.
 */
export async function clearStaleMounts(path: string): Promise<void> {
  const realPath = await withoutSymlinks(path);
  if (loopbackMounts(realPath).length === 0) {
    return;
  }
  const helper = new MountHelper();
  try {
    await clearStaleMountsWith(helper, realPath);
  } finally {
    await helper.close();
  }
}

/**
 * Makes a directory, created if need be, a mount of its own whose later mounts are seen in other mount namespaces (a
 * shared mount, see mount_namespaces(7)).
 */
export async function shareMounts(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  const target = await realpath(path);
  const helper = new MountHelper();
  const mount = async (source: string, flags: number) => {
    const { error } = await helper.mount({
      source,
      target,
      type: "none",
      flags,
      data: "",
      supervised: false,
    });
    if (error !== "") {
      throw new MountError(`cannot make ${path} a shared mount: ${error}`, error);
    }
  };
  try {
    if (!isMounted(target)) {
      await mount(target, MS_BIND | MS_REC);
    }
    await mount("none", MS_SHARED);
  } finally {
    await helper.close();
  }
}

/** The path as mountinfo has it. Its last component is not looked at: it may be a mount whose server is gone. */
async function withoutSymlinks(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  return join(await realpath(dirname(path)), basename(path));
}

/** The topmost mounts at the path, as far as they are of NFS servers on this machine; the topmost first. */
export function loopbackMounts(
  path: string,
  table: readonly MountTableEntry[] = readMountTable(),
): MountTableEntry[] {
  const stack = table.filter((entry) => entry.mountPoint === path).reverse();
  const other = stack.findIndex(
    ({ fileSystemType, source, superOptions }) =>
      fileSystemType !== "nfs4" ||
      !source.startsWith("127.0.0.1:") ||
      !superOptions.split(",").includes("addr=127.0.0.1"),
  );
  return other === -1 ? stack : stack.slice(0, other);
}

/** `ownPort`: where this process listens, so that no other can be the server. */
async function clearStaleMountsWith(helper: MountHelper, path: string, ownPort?: number): Promise<void> {
  const mounts = loopbackMounts(path);
  for (const { superOptions } of mounts) {
    // The kernel does not show NFS's own port.
    const port = Number(/(?:^|,)port=(\d+)/.exec(superOptions)?.[1] ?? 2049);
    if (port === ownPort || !(await isListenedOn(port))) {
      continue;
    }
    const message =
      `${path} is mounted, and what listens at its server's port ${port} may be another worker: ` +
      "stop it, or set another mountPath; if it is not a worker, unmount the directory";
    throw new MountError(message, "EBUSY");
  }
  await lockPath(helper, path);
  for (const { mountId } of loopbackMounts(path)) {
    const error = await helper.forceUnmount({ target: path, mountId });
    if (error !== "" && error !== "ENOENT") {
      throw new MountError(`cannot unmount what an earlier run left at ${path}: ${error}`, error);
    }
  }
}

/**
 * Has the helper lock PATH.lock: a worker in another network namespace cannot be noticed by its port. Throws a
 * {@link MountError}; EBUSY, naming the holder, if another worker has the lock.
 */
async function lockPath(helper: MountHelper, path: string): Promise<void> {
  const file = `${path}.lock`;
  const deadline = performance.now() + PREDECESSOR_MILLISECONDS;
  let error = await helper.lock(file, `process ${process.pid} on ${hostname()}`);
  while (error === "EAGAIN" && performance.now() < deadline) {
    await setTimeout(RETRY_MILLISECONDS);
    error = await helper.lock(file, `process ${process.pid} on ${hostname()}`);
  }
  if (error === "") {
    return;
  }
  if (error !== "EAGAIN") {
    throw new MountError(`cannot lock ${file}, as a worker must: ${error}`, error);
  }
  const holder = await readFile(file, "utf8");
  const message = `${path} is another worker's, ${holder}, which has locked ${file}: stop it, or set another mountPath`;
  throw new MountError(message, "EBUSY");
}

/** Whether anything listens at a port of 127.0.0.1, whether or not it answers. */
async function isListenedOn(port: number): Promise<boolean> {
  const socket = connect({ host: "127.0.0.1", port });
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(CONNECT_MILLISECONDS) });
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ECONNREFUSED";
  } finally {
    socket.on("error", () => {}).destroy();
  }
}

async function unmountWith(helper: MountHelper, mount: MountedAt, graceMilliseconds: number): Promise<void> {
  const deadline = performance.now() + graceMilliseconds;
  let error = "EBUSY";
  while (error === "EBUSY" && performance.now() < deadline) {
    const answered = new AbortController();
    const remaining = setTimeout(deadline - performance.now(), "EBUSY", { signal: answered.signal });
    remaining.catch(() => {});
    error = await Promise.race([helper.unmount(mount), remaining]);
    answered.abort();
    if (error === "EBUSY") {
      await setTimeout(RETRY_MILLISECONDS);
    }
  }
  if (error === "" || error === "ENOENT") {
    return;
  }
  const forced = await helper.forceUnmount(mount);
  if (forced === "" || forced === "ENOENT") {
    return;
  }
  const meaning = forced === "EBUSY" ? ": something else is mounted upon it" : "";
  throw new MountError(`cannot unmount ${mount.target}: ${forced}${meaning}`, forced);
}
