import type {
  InputDirectory,
  InputFile,
  InputSource,
  InputSubdirectory,
  InputSymlink,
} from "../../../src/cas/input-source.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";
import { computeDigest, type Digest, digestKey, SHA256 } from "../../../src/reapi/digest.ts";

/** A directory in a test's hand: a string is a file, a function makes other things. */
export interface Tree {
  readonly [name: string]: string | Uint8Array | Tree | Entry;
}

class Entry {
  readonly kind: "executable" | "symlink";
  readonly content: string;

  constructor(kind: "executable" | "symlink", content: string) {
    this.kind = kind;
    this.content = content;
  }
}

export function executable(content: string): Entry {
  return new Entry("executable", content);
}

export function symlink(target: string): Entry {
  return new Entry("symlink", target);
}

/** Blobs in memory, with counts of what was asked for, and with delays and failures on demand. */
export class FakeInputSource implements InputSource {
  readonly directoriesAsked: string[] = [];
  readonly readsAsked: { hash: string; offset: number; count: number }[] = [];
  /** Answers come as promises, one turn of the event loop later. */
  delayed = false;
  /** At most so many bytes for each read. */
  pieceBytes = Number.POSITIVE_INFINITY;
  readonly #blobs = new Map<string, Uint8Array>();
  readonly #directories = new Map<string, InputDirectory>();
  readonly #missing = new Set<string>();

  addBlob(content: string | Uint8Array): Digest {
    const bytes = typeof content === "string" ? Buffer.from(content) : content;
    const digest = computeDigest("", SHA256, bytes);
    this.#blobs.set(digestKey(digest), bytes);
    return digest;
  }

  addTree(tree: Tree): Digest {
    const files: InputFile[] = [];
    const directories: InputSubdirectory[] = [];
    const symlinks: InputSymlink[] = [];
    for (const [name, value] of Object.entries(tree)) {
      if (value instanceof Entry) {
        if (value.kind === "symlink") {
          symlinks.push({ name, target: value.content });
        } else {
          files.push({ name, digest: this.addBlob(value.content), isExecutable: true });
        }
      } else if (typeof value === "string" || value instanceof Uint8Array) {
        files.push({ name, digest: this.addBlob(value), isExecutable: false });
      } else {
        directories.push({ name, digest: this.addTree(value as Tree) });
      }
    }
    return this.addDirectory({ files, directories, symlinks });
  }

  addDirectory(directory: InputDirectory): Digest {
    const digest = computeDigest("", SHA256, Buffer.from(JSON.stringify(directory)));
    this.#directories.set(digestKey(digest), directory);
    return digest;
  }

  /** From now on the blob or directory is missing, until {@link restore}. */
  lose(digest: Digest): void {
    this.#missing.add(digestKey(digest));
  }

  restore(digest: Digest): void {
    this.#missing.delete(digestKey(digest));
  }

  directory(digest: Digest): InputDirectory | Promise<InputDirectory> {
    this.directoriesAsked.push(digest.hash);
    return this.#answer(() => this.#directories.get(this.#present(digest))!);
  }

  read(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    this.readsAsked.push({ hash: digest.hash, offset, count });
    return this.#answer(() => {
      const blob = this.#blobs.get(this.#present(digest))!;
      return blob.subarray(offset, offset + Math.min(count, this.pieceBytes));
    });
  }

  #present(digest: Digest): string {
    const key = digestKey(digest);
    if (this.#missing.has(key)) {
      throw new BlobError(5, `blob ${digest.hash} is missing`, digest);
    }
    return key;
  }

  #answer<T>(make: () => T): T | Promise<T> {
    return this.delayed ? new Promise((resolve) => setImmediate(resolve)).then(make) : make();
  }
}
