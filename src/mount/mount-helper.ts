import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { errnoName } from "../native/errno.ts";
import { helperPath } from "../native/helper.ts";
import { encodeMessage, MessageDecoder } from "../native/message.ts";

/** A mount(2), umount2(2) or syncfs(2) that failed. */
export class MountError extends Error {
  override readonly name = "MountError";
  /** Such as "EBUSY". */
  readonly code: string;

  constructor(message: string, code: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Everything has been written back but for what could not be: since this was last asked, a write to the mount has failed.
 * The kernel does not say whose.
 */
export class WriteBackError extends MountError {}

export interface MountArguments {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  /** The MS_… flags of mount(2). */
  readonly flags: number;
  readonly data: string;
  /** Whether to unmount the target by force if this process ends without having unmounted it. */
  readonly supervised: boolean;
}

/** One mount, as distinct from others at the same place. */
export interface MountedAt {
  readonly target: string;
  /** See {@link MountTableEntry}. */
  readonly mountId: number;
}

/** The helper's descriptor for what it is given beside standard input, output and error. */
const LISTENER = 3;

interface Reply {
  /** "" or the name of the errno. */
  readonly error: string;
  readonly mountId: number;
}

/**
 * The helper process that owns this process's mounts (native/bb_mount.c). No call to it occupies a thread of this
 * process, and all calls end when it does, which it does with this process.
 */
export class MountHelper {
  readonly #process: ChildProcess;
  /** Settles when it has ended, or has let go of what it does for this process. */
  readonly #closed: Promise<unknown>;
  readonly #failed = Promise.withResolvers<Error>();
  readonly #pending = new Map<string, PromiseWithResolvers<Reply>>();
  #nextId = 0;
  #failure: Error | undefined;

  /**
   * Starts it. `listener` is the descriptor of the socket at which the server of the mounts listens: see {@link close}.
   */
  constructor(listener?: number) {
    // Outside of any mount, which a working directory would keep busy.
    this.#process = spawn(helperPath("bb_mount"), listener === undefined ? [] : [String(LISTENER)], {
      stdio: ["pipe", "pipe", "inherit", ...(listener === undefined ? [] : [listener])],
      cwd: "/",
      env: {},
    });
    const ended = once(this.#process, "close").then(([code, signal]) =>
      this.#fail(new Error(`the mount helper has ended (${signal ?? code})`)),
    );
    ended.catch((error: Error) => this.#fail(new Error(`cannot run the mount helper: ${error.message}`)));
    const letGo = Promise.withResolvers<void>();
    this.#process.stdout?.on("close", letGo.resolve);
    this.#closed = Promise.race([ended, letGo.promise]);
    this.#closed.catch(() => {});
    const decoder = new MessageDecoder();
    this.#process.stdout?.on("data", (chunk: Buffer) => {
      try {
        for (const [id = "", errno, mountId] of decoder.push(chunk)) {
          this.#settle(id, {
            error: errno === "0" ? "" : errnoName(Number(errno)),
            mountId: Number(mountId),
          });
        }
      } catch (error) {
        this.#fail(error as Error);
        this.#process.stdin?.destroy();
      }
    });
    // That it has gone is seen when it closes.
    this.#process.stdin?.on("error", () => {});
    this.#keepAlive(false);
  }

  /** Whether it has ended or cannot be used. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  /** Resolves with the reason when it has ended or cannot be used. */
  get failure(): Promise<Error> {
    return this.#failed.promise;
  }

  /**
   * Locks a file until the helper ends, creating it if need be, and writes `holder` to it. At most once. Resolves to ""
   * or an errno: "EAGAIN" if somebody else has locked it.
   */
  async lock(path: string, holder: string): Promise<string> {
    return (await this.#call("lock", path, holder)).error;
  }

  /** mount(2). Returns a supervised mount's ID if there is no error. */
  mount({ source, target, type, flags, data, supervised }: MountArguments): Promise<Reply> {
    return this.#call("mount", source, target, type, flags, data, supervised ? 1 : 0);
  }

  /**
   * umount2(2). Resolves to "" or an errno: "EBUSY" if the mount is in use or covered by another, "ENOENT" if it is
   * gone. Waits for the file server to take what was written.
   */
  async unmount({ target, mountId }: MountedAt): Promise<string> {
    return (await this.#call("unmount", target, mountId)).error;
  }

  /**
   * Takes a mount out of this namespace's tree; those who use it can go on to do so. Waits for the file server if that
   * was the last use. Resolves as `unmount` does.
   */
  async detach({ target, mountId }: MountedAt): Promise<string> {
    return (await this.#call("detach", target, mountId)).error;
  }

  /**
   * Removes a mount within five seconds, without waiting for a file server: calls that wait for one fail, what was not
   * written back is lost, and a mount still in use is finally detached from the tree. Resolves as `unmount` does.
   */
  async forceUnmount({ target, mountId }: MountedAt): Promise<string> {
    return (await this.#call("force-unmount", target, mountId)).error;
  }

  /**
   * syncfs(2) on a mount's file system. Resolves to "" or an errno: "ECANCELED" if everything is written back but for
   * what failed since the last call, "ENOENT" or "EBUSY" as `unmount` does.
   */
  async sync({ target, mountId }: MountedAt): Promise<string> {
    return (await this.#call("sync", target, mountId)).error;
  }

  /**
   * statfs(2), which always asks the file server. Resolves to "" or an errno: "EINTR" if there is no answer within two
   * seconds, "ENOENT" or "EBUSY" as `unmount` does.
   */
  async statfs({ target, mountId }: MountedAt): Promise<string> {
    return (await this.#call("statfs", target, mountId)).error;
  }

  /**
   * Has the kernel ask the file server for the mount's root, by statx(2). Resolves to "" or an errno: "EAGAIN" if another
   * such call is under way, "EINTR" if the process that makes them was killed, "ENOENT" or "EBUSY" as `unmount` does.
   */
  async look({ target, mountId }: MountedAt): Promise<string> {
    return (await this.#call("look", target, mountId)).error;
  }

  /**
   * Ends the helper, which ends pending calls and takes what is supervised and still mounted out of the tree. If it was
   * given a listener, at which nobody else may accept connections from now on, it then answers all calls of those who still
   * use its mounts with errors, as long as there are any; this process needs neither wait for that nor live on.
   */
  async close(): Promise<void> {
    this.#keepAlive(true);
    this.#process.stdin?.destroy();
    await this.#closed.catch(() => {});
    this.#keepAlive(false);
  }

  #call(...request: (string | number)[]): Promise<Reply> {
    if (this.#failure) {
      return Promise.reject(this.#failure);
    }
    const id = String(this.#nextId++);
    const message = encodeMessage([id, ...request]);
    const call = Promise.withResolvers<Reply>();
    if (this.#pending.size === 0) {
      this.#keepAlive(true);
    }
    this.#pending.set(id, call);
    this.#process.stdin?.write(message);
    return call.promise;
  }

  #settle(id: string, reply: Reply): void {
    this.#pending.get(id)?.resolve(reply);
    this.#pending.delete(id);
    if (this.#pending.size === 0) {
      this.#keepAlive(false);
    }
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#failed.resolve(error);
    for (const call of this.#pending.values()) {
      call.reject(error);
    }
    this.#pending.clear();
  }

  /** An idle helper does not keep this process alive; a call under way does. */
  #keepAlive(keep: boolean): void {
    for (const handle of [this.#process, this.#process.stdin, this.#process.stdout]) {
      const socket = handle as { ref?(): void; unref?(): void } | null;
      if (keep) {
        socket?.ref?.();
      } else {
        socket?.unref?.();
      }
    }
  }
}
