import type { Digest } from "../reapi/digest.ts";

/**
 * What the file tree needs of the CAS: directories and ranges of files, by digest. What is in memory is returned
 * at once, all else as a promise. What any number of callers want at the same time is fetched once.
 *
 * Throws or rejects with {@link BlobError}.
 */
export interface InputSource {
  /** The decoded and checked REAPI Directory message. */
  directory(digest: Digest): InputDirectory | Promise<InputDirectory>;

  /**
   * At most `count` bytes from `offset` on, and at least one before the blob's end. What is returned never changes
   * afterwards.
   */
  read(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array>;
}

/**
 * A REAPI Directory with every name checked: 1 to 255 bytes, no `/`, no NUL, not `.` or `..`, no name twice.
 * Names hold one byte per char ("latin1"), so that any byte string is a name.
 */
export interface InputDirectory {
  readonly files: readonly InputFile[];
  readonly directories: readonly InputSubdirectory[];
  readonly symlinks: readonly InputSymlink[];
}

export interface InputFile {
  readonly name: string;
  readonly digest: Digest;
  readonly isExecutable: boolean;
}

export interface InputSubdirectory {
  readonly name: string;
  readonly digest: Digest;
}

export interface InputSymlink {
  readonly name: string;
  /** One byte per char. */
  readonly target: string;
}
