import { closeSync, openSync } from "node:fs";
import { callLibc } from "../native/libc.ts";
import { MountError } from "./mount-helper.ts";

/** From <sched.h>, <sys/socket.h>, <linux/sockios.h> and <net/if.h>. */
const CLONE_NEWNET = 0x40000000;
const AF_INET = 2;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SIOCSIFFLAGS = 0x8914;
const IFF_UP = 1;

/** struct ifreq: an interface's name, then its flags. */
const IFREQ_BYTES = 40;
const IFREQ_FLAGS = 16;
/** struct sockaddr_in: family, port, address. */
const SOCKADDR_IN_BYTES = 16;
const SOCKADDR_IN_ADDRESS = 4;

/** The calling thread's: each thread has its own. */
const CURRENT = "/proc/thread-self/ns/net";

const MEANINGS: Readonly<Record<string, string>> = {
  EPERM: "this takes root with CAP_SYS_ADMIN and CAP_NET_ADMIN (in a container: privileged)",
  ENOSPC: "the limit user.max_net_namespaces (sysctl) is reached",
  EINVAL: "the kernel has no network namespaces (CONFIG_NET_NS)",
};

/**
 * A network namespace (network_namespaces(7)) with a loopback interface and nothing else. No process outside it, not
 * even root's, can connect to what listens in it, or capture its packets. A mount made in it is served everywhere.
 *
 * It exists while this object is open, and while it holds a socket, a process or a mount.
 */
export class NetworkNamespace implements Disposable {
  readonly #fd: number;

  private constructor(fd: number) {
    this.#fd = fd;
  }

  /** Throws a {@link MountError} that says what is missing. */
  static create(): NetworkNamespace {
    try {
      return andReturn(() => {
        callLibc("unshare", { int: CLONE_NEWNET });
        const namespace = new NetworkNamespace(openSync(CURRENT, "r"));
        try {
          raiseLoopback();
        } catch (error) {
          namespace.close();
          throw error;
        }
        return namespace;
      });
    } catch (error) {
      const { code = "", message } = error as NodeJS.ErrnoException;
      const what =
        "cannot make a network namespace for the NFS server, which keeps actions that run as root from capturing its packets";
      throw new MountError(`${what}: ${message}: ${MEANINGS[code] ?? "see the kernel's log (dmesg)"}`, code);
    }
  }

  /**
   * Moves the calling thread into the namespace while `action` runs, which must be synchronous. The sockets it opens
   * and the processes it starts stay there. If the thread cannot move back, the process ends.
   */
  within<T>(action: () => T): T {
    return andReturn(() => {
      enter(this.#fd);
      return action();
    });
  }

  /** Opens a TCP socket in the namespace, bound to a free port of 127.0.0.1. The caller owns the descriptor. */
  openTcpSocket(): number {
    const socket = this.within(() => openSocket());
    const address = Buffer.alloc(SOCKADDR_IN_BYTES);
    address.writeUInt16LE(AF_INET);
    address.set([127, 0, 0, 1], SOCKADDR_IN_ADDRESS);
    try {
      callLibc("bind", { int: socket }, { memory: address }, { unsigned: SOCKADDR_IN_BYTES });
    } catch (error) {
      closeSync(socket);
      throw error;
    }
    return socket;
  }

  close(): void {
    closeSync(this.#fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Runs an action that moves the calling thread to another network namespace, then moves the thread back. */
function andReturn<T>(action: () => T): T {
  const home = openSync(CURRENT, "r");
  try {
    // Needs what moving back will need: fails, if at all, before anything has happened.
    enter(home);
    try {
      return action();
    } finally {
      moveBack(home);
    }
  } finally {
    closeSync(home);
  }
}

function moveBack(home: number): void {
  try {
    enter(home);
  } catch (error) {
    // From here on the process would connect to nothing, or to the wrong peers.
    console.error(`cannot return from the NFS server's network namespace, so the process ends: ${error}`);
    process.exit(1);
  }
}

function enter(namespace: number): void {
  callLibc("setns", { int: namespace }, { int: CLONE_NEWNET });
}

function openSocket(): number {
  return callLibc("socket", { int: AF_INET }, { int: SOCK_STREAM | SOCK_CLOEXEC }, { int: 0 });
}

/** In the calling thread's namespace. */
function raiseLoopback(): void {
  const request = Buffer.alloc(IFREQ_BYTES);
  request.write("lo");
  request.writeUInt16LE(IFF_UP, IFREQ_FLAGS);
  const socket = openSocket();
  try {
    callLibc("ioctl", { int: socket }, { unsignedLong: SIOCSIFFLAGS }, { memory: request });
  } finally {
    closeSync(socket);
  }
}
