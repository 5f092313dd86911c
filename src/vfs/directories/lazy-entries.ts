import type { InputDirectory } from "../../cas/input-source.ts";
import { FileSystemError, FileSystemStatus } from "../../nfs/file-system.ts";
import type { Digest } from "../../reapi/digest.ts";
import { type Fault, toBlobError } from "../faults.ts";
import type { TreeContext } from "../node.ts";
import type { CasDirectory } from "./cas-directory.ts";
import { Entries } from "./entries.ts";
import type { InputAccess } from "./input-access.ts";

/** Who is told what was fetched, and why fetching failed. */
export interface LazyEntriesAccount {
  report(fault: Fault): void;
  /** Somebody waits for storage until the promise settles. Returns it. */
  noteWait<T>(settled: Promise<T>, digest?: Digest): Promise<T>;
  noteLoaded(directory: CasDirectory): void;
}

/**
 * The entries of a directory of the CAS, fetched when first asked for, once for all who wait. If that fails they all
 * see EIO, the account is told why, and the next to ask tries again.
 */
export class LazyEntries<Child> {
  /** The directory of the CAS; undefined for a new, empty one. */
  readonly digest: Digest | undefined;
  readonly #tree: TreeContext;
  readonly #account: LazyEntriesAccount;
  readonly #access: InputAccess | undefined;
  #loaded: Entries<Child> | undefined;
  #loading: Promise<void> | undefined;
  #abandoned = false;

  constructor(
    tree: TreeContext,
    account: LazyEntriesAccount,
    digest: Digest | undefined,
    access: InputAccess | undefined,
  ) {
    this.#tree = tree;
    this.#account = account;
    this.digest = digest;
    this.#access = access;
    if (digest === undefined) {
      this.#loaded = new Entries<Child>(undefined);
    }
  }

  get loaded(): Entries<Child> | undefined {
    return this.#loaded;
  }

  /**
   * {@link loaded} has the entries once the promise resolves, or at once if undefined is returned. Throws or rejects
   * with FileSystemError IO, or STALE after {@link abandon}.
   */
  load(): Promise<void> | undefined {
    if (this.#loaded !== undefined) {
      return undefined;
    }
    if (this.#abandoned) {
      throw new FileSystemError(FileSystemStatus.STALE);
    }
    if (this.#loading !== undefined) {
      return this.#loading;
    }
    const digest = this.digest!;
    let directory: InputDirectory | Promise<InputDirectory>;
    try {
      directory = this.#tree.source.directory(digest);
    } catch (error) {
      return this.#failed(error, digest);
    }
    if (!(directory instanceof Promise)) {
      this.#setLoaded(directory);
      return undefined;
    }
    this.#loading = this.#account.noteWait(directory, digest).then(
      (fetched) => {
        this.#loading = undefined;
        if (this.#abandoned) {
          throw new FileSystemError(FileSystemStatus.STALE);
        }
        this.#setLoaded(fetched);
      },
      (error) => {
        this.#loading = undefined;
        this.#failed(error, digest);
      },
    );
    return this.#loading;
  }

  /** From then on nothing is fetched. */
  abandon(): void {
    this.#abandoned = true;
  }

  #setLoaded(directory: InputDirectory): void {
    const origin = this.#tree.casDirectory(directory);
    this.#loaded = new Entries<Child>(
      origin,
      this.#tree.shuffleDirectoryListings ? shuffledPositions(origin.names.length) : undefined,
    );
    this.#account.noteLoaded(origin);
    this.#access?.noteRead(origin);
  }

  #failed(error: unknown, digest: Digest): never {
    this.#account.report(toBlobError(error, digest));
    throw new FileSystemError(FileSystemStatus.IO);
  }
}

/** The numbers below `count` in an order that chance decides (Fisher and Yates). */
function shuffledPositions(count: number): Uint32Array {
  const positions = Uint32Array.from({ length: count }, (_, position) => position);
  for (let left = count; left > 1; left--) {
    const chosen = Math.floor(Math.random() * left);
    const last = positions[left - 1]!;
    positions[left - 1] = positions[chosen]!;
    positions[chosen] = last;
  }
  return positions;
}
