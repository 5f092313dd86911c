import { randomBytes, timingSafeEqual } from "node:crypto";
import type { Attributes, Directory, Name } from "./file-system.ts";
import { ReadOnlyDirectory } from "./read-only.ts";

const NAME_BYTES = 32;
const RESERVED_PORTS = 1024;

/** Options of a {@link Gate}. */
export interface GateOptions {
  /** Accept only connections from ports below 1024, which need privileges to use. Default true. */
  reservedPortsOnly?: boolean;
  /**
   * Called when the record of an admitted client has ended: by its own doing (as when it unmounts), after a long
   * silence, or with the server. Its mount will never be served again, since nobody else can be admitted to it.
   */
  onLost?: () => void;
}

/**
 * Shows everybody an empty root directory. A client that looks up a name of 256 random bits in it, while that name
 * is armed, reaches the file system's own root, and is admitted (with its sessions) from then on. The Linux client
 * does so by mounting `127.0.0.1:/NAME`:
 *
 * ```ts
 * await gate.open((name) => mount(`127.0.0.1:/${name}`, target));
 * ```
 *
 * Needs NFSv4.1: only a session ties later connections to the client that was admitted. A session id is 128
 * random bits that none but the client and the server know. A client record belongs to the connection that made
 * it: on no other can a session be made of it, whatever owner or clientid is claimed there.
 *
 * A session is not bound to connections: Linux, when it must connect again, has nothing but the session id to show.
 * Whoever can capture packets learns that id, and could as well write into the connection that carries it. Against
 * them only a network helps that they are not on, such as a network namespace of the server and its mount.
 */
export class Gate {
  readonly root: Directory = new EmptyDirectory();
  readonly reservedPortsOnly: boolean;
  /** See {@link GateOptions.onLost}. */
  readonly onLost: () => void;
  /** Armed names, each with the client that has used it. */
  readonly #names = new Map<Buffer, object | undefined>();

  constructor(options: GateOptions = {}) {
    this.reservedPortsOnly = options.reservedPortsOnly ?? true;
    this.onLost = options.onLost ?? (() => {});
  }

  /**
   * Arms a fresh name while `use` runs: mount inside it. Once its promise settles, the name means nothing
   * any more.
   */
  async open<T>(use: (name: string) => Promise<T>): Promise<T> {
    const { name, disarm } = this.arm();
    try {
      return await use(name);
    } finally {
      disarm();
    }
  }

  /** Arms a fresh name until the returned `disarm` is called. */
  arm(): {
    name: string;
    /** From then on the name means nothing. */
    disarm: () => void;
  } {
    const name = Buffer.from(randomBytes(NAME_BYTES).toString("base64url"), "latin1");
    this.#names.set(name, undefined);
    return { name: name.toString("latin1"), disarm: () => this.#names.delete(name) };
  }

  /**
   * Whether the name is armed and no other client has used it: before our own mount(2) returns, others can already
   * read the name in the kernel's mount table. Compares in constant time.
   */
  admits(name: Name, client: object): boolean {
    const given = Buffer.from(name, "latin1");
    let armed: Buffer | undefined;
    for (const known of this.#names.keys()) {
      if (known.length === given.length && timingSafeEqual(known, given)) {
        armed = known;
      }
    }
    if (armed === undefined) {
      return false;
    }
    const user = this.#names.get(armed);
    if (user === undefined) {
      this.#names.set(armed, client);
    }
    return user === undefined || user === client;
  }

  /** Whether connections from this port are accepted at all. */
  takesPort(port: number): boolean {
    return !this.reservedPortsOnly || (port > 0 && port < RESERVED_PORTS);
  }
}

/** The pseudo-root: empty, and nothing can be created in it. */
class EmptyDirectory extends ReadOnlyDirectory {
  readonly handle: Uint8Array = randomBytes(16);
  readonly #fixed: Attributes = {
    mode: 0o555,
    linkCount: 2,
    userId: 0,
    groupId: 0,
    size: 0,
    spaceUsed: 0,
    fileId: Number.MAX_SAFE_INTEGER,
    change: 1,
    accessTime: { seconds: 0, nanoseconds: 0 },
    modifyTime: { seconds: 0, nanoseconds: 0 },
    metadataTime: { seconds: 0, nanoseconds: 0 },
  };

  attributes(): Attributes {
    return this.#fixed;
  }

  parent(): undefined {
    return undefined;
  }

  lookup(): undefined {
    return undefined;
  }

  readDirectory(): boolean {
    return true;
  }
}
