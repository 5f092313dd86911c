import type { InputDirectory } from "../../cas/input-source.ts";
import type { Name } from "../../nfs/file-system.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { HandleCodec } from "../handles.ts";

/** From this many names on, an index is worth its memory. */
const INDEX_FROM = 9;

/**
 * A directory of the CAS in the compact, immutable form from which tree directories are expanded: positions
 * 0 … n-1 stand for the message's files, then its subdirectories, then its symlinks. Actions with the same directory
 * share one such object. For each file it holds the finished handle, which says everything else.
 */
export class CasDirectory {
  readonly names: readonly Name[];
  readonly fileCount: number;
  /** The sizes of the files together. */
  readonly fileBytes: number;
  readonly subdirectories: readonly Digest[];
  readonly #handles: Buffer;
  readonly #handleEnds: Uint32Array | undefined;
  readonly #handleLength: number;
  readonly #symlinkTargets: readonly string[];
  #index: ReadonlyMap<Name, number> | undefined;

  constructor(directory: InputDirectory, codec: HandleCodec) {
    const { files, directories, symlinks } = directory;
    const names = new Array<Name>(files.length + directories.length + symlinks.length);
    let position = 0;
    let length = 0;
    let fileBytes = 0;
    for (const file of files) {
      names[position++] = file.name;
      fileBytes += file.digest.sizeBytes;
      length += codec.casFileLength(file.digest.function);
    }
    for (const subdirectory of directories) {
      names[position++] = subdirectory.name;
    }
    for (const symlink of symlinks) {
      names[position++] = symlink.name;
    }
    this.names = names;
    this.fileCount = files.length;
    this.fileBytes = fileBytes;

    const handles = Buffer.allocUnsafeSlow(length);
    const ends = new Uint32Array(files.length);
    let end = 0;
    for (let i = 0; i < files.length; i++) {
      const { digest, isExecutable } = files[i]!;
      codec.writeCasFile(handles, end, digest, isExecutable);
      end += codec.casFileLength(digest.function);
      ends[i] = end;
    }
    this.#handles = handles;
    this.#handleLength = ends[0] ?? 0;
    this.#handleEnds = end === this.#handleLength * files.length ? undefined : ends;
    this.subdirectories = directories.map((subdirectory) => subdirectory.digest);
    this.#symlinkTargets = symlinks.map((symlink) => symlink.target);
  }

  isFile(position: number): boolean {
    return position < this.fileCount;
  }

  /** A view of the handle of the file at `position`. */
  fileHandle(position: number): Buffer {
    if (this.#handleEnds === undefined) {
      const length = this.#handleLength;
      return this.#handles.subarray(position * length, (position + 1) * length);
    }
    return this.#handles.subarray(
      position === 0 ? 0 : this.#handleEnds[position - 1],
      this.#handleEnds[position],
    );
  }

  /** undefined if the position is not a subdirectory's. */
  subdirectoryDigest(position: number): Digest | undefined {
    return this.subdirectories[position - this.fileCount];
  }

  symlinkTarget(position: number): string {
    return this.#symlinkTargets[position - this.fileCount - this.subdirectories.length]!;
  }

  /** -1 if there is no such name. */
  find(name: Name): number {
    const { names } = this;
    if (names.length < INDEX_FROM) {
      return names.indexOf(name);
    }
    this.#index ??= indexNames(names);
    return this.#index.get(name) ?? -1;
  }

  /** Whether one of the files has this handle. */
  hasFile(handle: Buffer): boolean {
    // A match across two handles would take a hash that contains the beginning of a handle.
    return this.#handles.includes(handle);
  }
}

/** The position of every name. */
export function indexNames(names: readonly Name[]): Map<Name, number> {
  const index = new Map<Name, number>();
  for (let position = 0; position < names.length; position++) {
    index.set(names[position]!, position);
  }
  return index;
}
