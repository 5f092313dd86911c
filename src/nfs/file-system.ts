/**
 * The file system that an {@link ../server.ts NFSv4 server} serves: a tree of nodes. A file system
 * implements {@link FileSystem}, {@link Directory}, {@link RegularFile} and whichever of the small
 * optional interfaces below it has; the server answers for the rest with the status the RFC prescribes.
 *
 * Rules that hold for every method here:
 *
 * - **Answers in memory are returned, not promised.** A method returns its value, or a promise of it if it must
 *   wait for something. Given a value, the server goes on in the same tick.
 * - **Errors are thrown** (or rejected) as {@link FileSystemError} with an NFS status. Anything else that
 *   is thrown is a fault of the file system and reaches the client as NFS4ERR_SERVERFAULT.
 * - **A name is a byte string**, held in a JavaScript string with one byte per char ("latin1"); see
 *   {@link Name}. The server has checked that it is 1 to 255 bytes long, has no `/` and no NUL,
 *   and is neither `.` nor `..`.
 * - **The server checks permissions** by mode, owner and group before it calls. The file system need not.
 * - **Attributes are there at once**: see {@link NodeBase.attributes}, and {@link FileSystem.refresh} where they are not.
 * - **Numbers are exact**: sizes, offsets, cookies and change counters are integers up to 2^53-1. The server answers
 *   NFS4ERR_FBIG to what would reach beyond that.
 */

/** One byte per char, as `buffer.latin1Slice()` makes it. `Buffer.from(name, "latin1")` gives the bytes. */
export type Name = string;

/** The largest size of a file in bytes: 2^53-1, up to which all integers are exact. */
export const MAXIMUM_FILE_SIZE: number = Number.MAX_SAFE_INTEGER;

/** A value if it is there; a promise if it must be waited for. */
export type MaybePromise<T> = T | Promise<T>;

/** nfs_ftype4 (RFC 8881 §3.2). */
export const FileType = {
  REGULAR: 1,
  DIRECTORY: 2,
  BLOCK_DEVICE: 3,
  CHARACTER_DEVICE: 4,
  SYMLINK: 5,
  SOCKET: 6,
  FIFO: 7,
} as const;
export type FileType = (typeof FileType)[keyof typeof FileType];

/** The nfsstat4 values a file system may throw (RFC 8881 §15.1). */
export const FileSystemStatus = {
  PERM: 1,
  NOENT: 2,
  IO: 5,
  NXIO: 6,
  ACCESS: 13,
  EXIST: 17,
  XDEV: 18,
  NOTDIR: 20,
  ISDIR: 21,
  INVAL: 22,
  FBIG: 27,
  NOSPC: 28,
  ROFS: 30,
  MLINK: 31,
  NAMETOOLONG: 63,
  NOTEMPTY: 66,
  DQUOT: 69,
  STALE: 70,
  BADHANDLE: 10001,
  BAD_COOKIE: 10003,
  NOTSUPP: 10004,
  SERVERFAULT: 10006,
  DELAY: 10008,
  WRONG_TYPE: 10083,
  UNION_NOTSUPP: 10090,
  NOXATTR: 10095,
  XATTR2BIG: 10096,
} as const;
export type FileSystemStatus = (typeof FileSystemStatus)[keyof typeof FileSystemStatus];

/** An operation ended with an NFS status. Carries no stack trace: such errors are ordinary answers. */
export class FileSystemError extends Error {
  readonly status: FileSystemStatus;

  constructor(status: FileSystemStatus, message?: string) {
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(message ?? Object.keys(FileSystemStatus).find((key) => FileSystemStatus[key as never] === status));
    Error.stackTraceLimit = limit;
    this.name = "FileSystemError";
    this.status = status;
  }
}

/** Seconds since 1970 (may be negative) and nanoseconds below 1e9. */
export interface Timestamp {
  seconds: number;
  nanoseconds: number;
}

/**
 * What GETATTR answers from. The server reads the fields and keeps nothing, so a node can return the same live object
 * each time and update it in place.
 */
export interface Attributes {
  /** Permission bits, set-user-id, set-group-id and sticky: 0o7777 at most. */
  mode: number;
  /** Number of names. Directories may say 1, which `find` and `fts` read as "not counted". */
  linkCount: number;
  userId: number;
  groupId: number;
  /** Bytes. */
  size: number;
  /** Bytes of storage in use. */
  spaceUsed: number;
  /** Stable, unique within the file system, and never reused. */
  fileId: number;
  /** Goes up whenever data, metadata or the directory's entries change. */
  change: number;
  accessTime: Timestamp;
  modifyTime: Timestamp;
  /** Time of the last change of data or metadata. */
  metadataTime: Timestamp;
}

/** What SETATTR and the creating operations may set. A field that is absent stays as it is. */
export interface AttributeChanges {
  mode?: number;
  userId?: number;
  groupId?: number;
  /** Regular files only: truncates or extends (with a hole). */
  size?: number;
  /** A time, or `"now"` for the server's own clock. */
  accessTime?: Timestamp | "now";
  modifyTime?: Timestamp | "now";
  /**
   * Comes only with times kept by the holder of a write delegation (RFC 9754 §5): it then becomes the time of the
   * last change, instead of the current time, and a new access time alone leaves {@link Attributes.change} as it is.
   * Only file systems with a {@link DelegableFile} see it.
   */
  metadataTime?: Timestamp;
}

/** The caller's AUTH_SYS credentials (RFC 5531 appendix A). */
export interface Credentials {
  readonly userId: number;
  readonly groupId: number;
  readonly supplementaryGroupIds: readonly number[];
}

/** What all nodes have in common. */
export interface NodeBase {
  /** Opaque, 1 to 128 bytes, the same for as long as the node exists. Never mutated. */
  readonly handle: Uint8Array;
  /** The live object: see {@link Attributes}. Never a promise: {@link FileSystem.refresh} fetches what is not there. */
  attributes(): Attributes;
  /** Applies all of the changes or none. */
  setAttributes(changes: AttributeChanges): MaybePromise<void>;
}

/** A file with content. {@link SparseFile}, {@link CloneableFile} and {@link DelegableFile} add to it. */
export interface RegularFile extends NodeBase {
  readonly type: typeof FileType.REGULAR;

  /**
   * The content and the attributes never change under this handle: the server gives READ delegations freely, and
   * a client that opens the file for writing gets what {@link Directory.openForWriting} returns. A change by
   * handle is passed on to the file system, which must refuse it.
   */
  readonly immutable: boolean;

  /**
   * Immutable files only. A client asks to open the file for writing by its handle alone (CLAIM_FH, RFC 8881
   * §18.16), so no entry is known in which a private copy could take its place. Always throws: STALE after making
   * sure that the next lookup of the file's name finds a private copy, as Linux then looks up the path once more; or
   * the status that says why the file cannot be written.
   */
  redirectWriting?(): never;

  /**
   * Immutable files only. A client that has the file open wants to change it by its handle, and may have no name for it,
   * as for fchmod(2). Returns a file that can be changed, and has the handle from then on; undefined if somebody else may
   * have got the handle, too: the change is then refused as any other.
   */
  takeOver?(): RegularFile | undefined;

  /**
   * At most `count` bytes from `offset` on; fewer at the end of the file, or if the file system prefers a shorter
   * answer (before the end, at least one byte). The view must stay unchanged until the
   * reply is sent: hand out views of immutable data, or fresh copies.
   */
  read(offset: number, count: number): MaybePromise<Uint8Array>;

  /**
   * Writes all of `data`, which is a view of the request and valid only until this returns or its promise
   * settles. `stable` asks for data and metadata on stable storage before the answer.
   */
  write(offset: number, data: Uint8Array, stable: boolean): MaybePromise<void>;

  /** Brings earlier unstable writes to stable storage. */
  commit(): MaybePromise<void>;

  /**
   * The server's interest in the file beyond its names: called once when the first open, lock or
   * delegation state on the file comes into being ({@link retain}), and once when the last one goes
   * ({@link release}). A file without names lives on until it is released.
   */
  retain(): void;
  /** See {@link retain}. */
  release(): void;
}

/** Where in a directory a READDIR continues: 0 for the start, else the cookie of the last entry seen. */
export type Cookie = number;

/** Returns false to stop before this entry. */
export type EntryVisitor = (name: Name, cookie: Cookie, node: Node) => boolean;

/** A directory: its entries, and how they change. */
export interface Directory extends NodeBase {
  readonly type: typeof FileType.DIRECTORY;

  /** The parent directory; undefined for the root and for a removed directory. */
  parent(): Directory | undefined;

  /** undefined if there is no such entry. */
  lookup(name: Name): MaybePromise<Node | undefined>;

  /**
   * Visits the entries after `cookie`, in an order that stays the same while the directory changes: an
   * entry that stays is visited exactly once. Cookies are 3 or more, and rise. Returns true if the last entry
   * has been visited. Throws BAD_COOKIE for a cookie that it cannot have given out.
   */
  readDirectory(cookie: Cookie, visit: EntryVisitor): MaybePromise<boolean>;

  /**
   * The existing regular file `name`, ready to be written: itself, or, for an {@link RegularFile.immutable}
   * copy-on-write input, the private copy that now stands in its place. `truncate` says that the content
   * will not be needed.
   */
  openForWriting(name: Name, file: RegularFile, truncate: boolean): MaybePromise<RegularFile>;

  /** Throws EXIST if there is such an entry. The new node belongs to `owner`. */
  createFile(name: Name, owner: Credentials, attributes: AttributeChanges): MaybePromise<RegularFile>;
  /** As {@link createFile}. */
  createDirectory(name: Name, owner: Credentials, attributes: AttributeChanges): MaybePromise<Directory>;
  /** As {@link createFile}. `target` is kept as it is. */
  createSymlink(
    name: Name,
    owner: Credentials,
    target: Uint8Array,
    attributes: AttributeChanges,
  ): MaybePromise<Symlink>;
  /** As {@link createFile}. */
  createSpecial(
    name: Name,
    owner: Credentials,
    special: SpecialKind,
    attributes: AttributeChanges,
  ): MaybePromise<Special>;

  /** Adds a name to a node that is not a directory. */
  link(name: Name, node: Node): MaybePromise<void>;

  /** Throws NOENT; for a directory with entries, NOTEMPTY. */
  remove(name: Name): MaybePromise<void>;

  /**
   * Atomically moves the entry to `newName` in `target` (a directory of the same file system, maybe this
   * one), replacing what is there as rename(2) does. Throws NOENT, EXIST or NOTEMPTY (RFC 8881 §18.26), and
   * INVAL where a directory would come to lie in itself. Two names of one node: nothing happens.
   */
  rename(name: Name, target: Directory, newName: Name): MaybePromise<void>;
}

/** A symbolic link; its target may be any bytes. */
export interface Symlink extends NodeBase {
  readonly type: typeof FileType.SYMLINK;
  readonly target: Uint8Array;
}

/** What kind of {@link Special} a node is. */
export type SpecialKind =
  | {
      readonly type: typeof FileType.CHARACTER_DEVICE | typeof FileType.BLOCK_DEVICE;
      readonly major: number;
      readonly minor: number;
    }
  | { readonly type: typeof FileType.SOCKET | typeof FileType.FIFO };

/** A device node, FIFO or socket. Its behaviour is up to the client's kernel. */
export type Special = NodeBase & SpecialKind;

/** Whatever has a filehandle. */
export type Node = RegularFile | Directory | Symlink | Special;

/** What a server serves. */
export interface FileSystem {
  readonly root: Directory;

  /**
   * The node of a handle that this file system gave out, or undefined if there is none (any more); the client then
   * sees NFS4ERR_STALE. `handle` may be any bytes: for those that never were a handle this may throw BADHANDLE. It is
   * a view of the request and must not be kept.
   */
  resolve(handle: Uint8Array): MaybePromise<Node | undefined>;

  /**
   * Only for file systems that must fetch attributes from elsewhere: brings the node's up to date. The server awaits
   * it before each operation on a node that it has kept as the current or the saved filehandle. What {@link resolve},
   * a lookup, a listing or a creation returns must already be up to date.
   */
  refresh?(node: Node): MaybePromise<void>;

  /** For the space_*, files_* and max* attributes (statfs). */
  statistics(): FileSystemStatistics;
}

/** What {@link FileSystem.statistics} answers. */
export interface FileSystemStatistics {
  /** Bytes. */
  totalSpace: number;
  freeSpace: number;
  availableSpace: number;
  totalFiles: number;
  freeFiles: number;
  availableFiles: number;
  maximumFileSize: number;
}

/** Files with holes: SEEK, ALLOCATE, DEALLOCATE, READ_PLUS (RFC 7862). */
export interface SparseFile {
  /**
   * The first offset at or after `offset` that is data (or a hole). The end of the file counts as a hole.
   * undefined if there is none. Throws NXIO at or past the end of the file.
   */
  seek(offset: number, what: "data" | "hole"): MaybePromise<number | undefined>;
  /** Reserves space, extending the file if it ends earlier. */
  allocate(offset: number, length: number): MaybePromise<void>;
  /** Makes a hole; the size stays. */
  deallocate(offset: number, length: number): MaybePromise<void>;
}

/**
 * A file that nobody but the server's clients changes, so that it can be delegated to one of them (RFC 8881 §10.4).
 * Immutable files need not say so.
 */
export interface DelegableFile {
  readonly delegable: true;
}

/** COPY and CLONE within the file system (RFC 7862 §15.2, §15.13). */
export interface CloneableFile {
  /**
   * Replaces `length` bytes of this file, from `offset` on, by those of `source` from `sourceOffset` on, sharing
   * storage where possible. The range lies within `source`. Returns the number of bytes copied.
   */
  cloneRange(source: RegularFile, sourceOffset: number, offset: number, length: number): MaybePromise<number>;
}

/** Extended attributes of the `user.` namespace, without the prefix (RFC 8276). */
export interface ExtendedAttributes {
  /** undefined if there is none of that name. */
  getExtendedAttribute(name: Name): MaybePromise<Uint8Array | undefined>;
  /** `create`: throws EXIST if there is one; `replace`: throws NOXATTR if there is none. */
  setExtendedAttribute(
    name: Name,
    value: Uint8Array,
    how: "create" | "replace" | "either",
  ): MaybePromise<void>;
  /** Throws NOXATTR if there is none. */
  removeExtendedAttribute(name: Name): MaybePromise<void>;
  /** In an order that stays the same while none is added or removed. */
  listExtendedAttributes(): MaybePromise<readonly Name[]>;
}

/** Whether the node is a {@link SparseFile}. */
export function isSparse(node: Node): node is RegularFile & SparseFile {
  return "seek" in node;
}

/** Whether delegations of the node may be given: see {@link DelegableFile}. */
export function isDelegable(file: RegularFile): boolean {
  return file.immutable || "delegable" in file;
}

/** Whether the node is a {@link CloneableFile}. */
export function isCloneable(node: Node): node is RegularFile & CloneableFile {
  return "cloneRange" in node;
}

/** Whether the node has {@link ExtendedAttributes}. */
export function hasExtendedAttributes(node: Node): node is Node & ExtendedAttributes {
  return "getExtendedAttribute" in node;
}
