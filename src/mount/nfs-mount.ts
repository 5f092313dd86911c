import { mkdir, readFile, realpath } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { MountError, type MountedAt, MountHelper, WriteBackError } from "./mount-helper.ts";
import { isMounted, type MountTableEntry, readMountTable } from "./mount-table.ts";
import type { NetworkNamespace } from "./network-namespace.ts";
import { describeMountFailure, type NfsVersion, nfsMountOptions } from "./nfs-mount-options.ts";
import { SharedCalls } from "./shared-calls.ts";

/** Flags of mount(2), from <sys/mount.h>. */
const MS_BIND = 0x1000;
const MS_REC = 0x4000;
const MS_SHARED = 1 << 20;

/** Between two attempts to unmount a mount that is in use. */
const RETRY_MILLISECONDS = 50;

/** What statfs(2) says of a mount that can never be used again, or whose server does not answer. */
const UNSERVED = ["EINTR", "EIO", "ESTALE", "ETIMEDOUT"];

/** How long a worker that has died may still be unmounting (native/bb_mount.c). */
const PREDECESSOR_MILLISECONDS = 6000;

/**
 * What it takes to answer in the server's place, with errors, once it is gone: when this process has died, or after
 * {@link NfsMount.unmount}. It lasts as long as anybody uses the mount, so that nobody waits for ever.
 */
export interface StandIn {
  /** The descriptor of the socket at which the server listens. */
  readonly listener: number;
  /**
   * Called when the mount has left this namespace's tree. Must end the server, and may take its time: until then those who
   * still use the mount can go on to do so.
   */
  closeServer(): Promise<void>;
}

export interface NfsMountSettings {
  /** Where the server listens. Default: the network namespace of this process. */
  readonly network?: NetworkNamespace;
  /** The server's TCP port on 127.0.0.1. */
  readonly port: number;
  /** Default: the server goes on when the mount has gone, and if it does not, whoever still uses the mount may wait for ever. */
  readonly standIn?: StandIn;
  /** The server's directory to mount: absolute, "/"-separated. */
  readonly serverPath: string;
  /** Where to mount it: absolute. Made if it does not exist. */
  readonly mountPath: string;
  readonly version: NfsVersion;
  /** The operator's options, as in `mount -o`: those of nfs(5), and flags such as "noatime". */
  readonly mountOptions?: readonly string[];
}

/** One mount of a server that runs in this process. Leaves the tree when this process dies. */
export class NfsMount implements AsyncDisposable {
  readonly path: string;
  /**
   * Resolves with the reason if the helper ends before `unmount`: nothing can be written back any more, and the mount
   * would outlive this process.
   */
  readonly lost: Promise<MountError>;
  #unmounting = false;
  #unmounted = false;
  readonly #at: MountedAt;
  readonly #settings: NfsMountSettings;
  #helper: MountHelper;
  readonly #syncs = new SharedCalls(() => this.#sync());
  readonly #refreshes = new SharedCalls(() => this.#refresh());

  private constructor(at: MountedAt, helper: MountHelper, settings: NfsMountSettings) {
    this.path = at.target;
    this.#at = at;
    this.#settings = settings;
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
    const { port, version, mountOptions } = settings;
    const { flags, data } = nfsMountOptions(port, version, mountOptions);
    const path = await withoutSymlinks(settings.mountPath);
    const helper = startHelper(settings);
    const giveUp = () => void helper.close();
    try {
      signal?.throwIfAborted();
      signal?.addEventListener("abort", giveUp);
      await clearStaleMountsWith(helper, path);
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
      return new NfsMount({ target: path, mountId }, helper, settings);
    } catch (error) {
      await helper.close();
      throw signal?.aborted ? signal.reason : error;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /** The mount's options as the kernel has them in force, such as "rw,vers=4.2,…"; undefined once it is not mounted. */
  optionsInForce(): string | undefined {
    return readMountTable().find(({ mountId }) => mountId === this.#at.mountId)?.superOptions;
  }

  /**
   * Has the kernel send the server everything written to the mount so far. Calls made while one is under way share the
   * next one, so that many actions ending at once cost two. Rejects with {@link WriteBackError} if all that is left is
   * what could not be written.
   */
  sync(): Promise<void> {
    return this.#syncs.call();
  }

  /**
   * Has the kernel forget what it remembers of the names in the server's root, whether they exist or not, if the root's
   * change attribute has changed. That holds for every process and every mount namespace.
   */
  refresh(): Promise<void> {
    return this.#refreshes.call();
  }

  async #sync(): Promise<void> {
    const error = await this.#helper.sync(this.#at);
    if (error === "ECANCELED") {
      throw new WriteBackError(`something that was written to ${this.path} is lost`, error);
    }
    if (error !== "") {
      throw failure(`cannot write ${this.path} back to its server`, error);
    }
  }

  async #refresh(): Promise<void> {
    const error = await this.#helper.look(this.#at);
    if (error !== "") {
      throw failure(`cannot ask the server of ${this.path} for its root`, error);
    }
  }

  /**
   * Unmounts: waits up to `graceMilliseconds` while processes of this namespace use it, then takes it out of the tree
   * though it is in use. The server must keep answering meanwhile. Does nothing if somebody else has unmounted it. Throws
   * a {@link MountError} if the mount could not be removed, as when another covers it: it can then be tried again. In the
   * end has the server closed, if {@link NfsMountSettings.standIn} says how.
   */
  async unmount(graceMilliseconds = 2000): Promise<void> {
    this.#unmounting = true;
    if (this.#unmounted) {
      return;
    }
    if (this.#helper.failed) {
      this.#helper = startHelper(this.#settings);
    }
    await unmountWith(this.#helper, this.#at, graceMilliseconds);
    this.#unmounted = true;
    try {
      await this.#settings.standIn?.closeServer();
    } finally {
      await this.#helper.close();
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.unmount();
  }
}

/** The kernel connects in the network namespace of the process that calls mount(2). */
function startHelper({ network, standIn }: NfsMountSettings): MountHelper {
  const start = () => new MountHelper(standIn?.listener);
  return network ? network.within(start) : start();
}

function failure(what: string, code: string): MountError {
  const meaning = { ENOENT: ": somebody has unmounted it", EBUSY: ": something else is mounted upon it" }[
    code
  ];
  return new MountError(`${what}: ${code}${meaning ?? ""}`, code);
}

/**
 * Removes by force the NFS mounts of this machine's servers that an earlier run has left at the path, also several
 * upon each other. Something else mounted there stays. Throws a {@link MountError}, EBUSY, if a worker has the path
 * locked, or one of the mounts is still served: that one, and what lies beneath it, stays.
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

/**
 * A worker that is alive, or still unmounting, has the lock; any other server answers when the kernel asks it. The port
 * in a mount's options tells nothing: it may be one of another network namespace, or somebody else's by now.
 */
async function clearStaleMountsWith(helper: MountHelper, path: string): Promise<void> {
  await lockPath(helper, path);
  for (const { mountId } of loopbackMounts(path)) {
    const mount = { target: path, mountId };
    const answer = await helper.statfs(mount);
    if (answer !== "ENOENT" && !UNSERVED.includes(answer)) {
      const message =
        `${path} is mounted, and its server is alive (statfs: ${answer || "answered"}), though nobody has locked ` +
        `${path}.lock: stop that server and unmount the directory, or set another mountPath`;
      throw new MountError(message, "EBUSY");
    }
    const error = await helper.forceUnmount(mount);
    if (error !== "" && error !== "ENOENT") {
      throw new MountError(`cannot unmount what an earlier run left at ${path}: ${error}`, error);
    }
  }
}

/**
 * Has the helper lock PATH.lock, by which workers know of each other. Throws a {@link MountError}: EBUSY, naming the
 * holder, if another worker has it.
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
  if (error !== "" && error !== "ENOENT") {
    error = await helper.detach(mount);
  }
  if (error !== "" && error !== "ENOENT") {
    const meaning = error === "EBUSY" ? ": something else is mounted upon it" : "";
    throw new MountError(`cannot unmount ${mount.target}: ${error}${meaning}`, error);
  }
}
