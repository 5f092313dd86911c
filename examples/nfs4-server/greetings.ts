/** A file system of one's own: a read-only directory with a greeting for each name. */
import {
  type Attributes,
  type EntryVisitor,
  type FileSystem,
  type Node,
  ReadOnlyDirectory,
  ReadOnlyFile,
} from "../../src/nfs/index.ts";

class Greeting extends ReadOnlyFile {
  readonly handle: Uint8Array;
  readonly #content: Uint8Array;

  constructor(id: number, text: string) {
    super();
    this.handle = Uint8Array.of(id);
    this.#content = Buffer.from(text);
  }

  attributes(): Attributes {
    return attributes(0o444, this.handle[0]!, this.#content.length);
  }

  read(offset: number, count: number): Uint8Array {
    return this.#content.subarray(offset, offset + count);
  }
}

class Root extends ReadOnlyDirectory {
  readonly handle = Uint8Array.of(0);
  readonly #files: ReadonlyMap<string, Greeting>;

  constructor(files: ReadonlyMap<string, Greeting>) {
    super();
    this.#files = files;
  }

  attributes(): Attributes {
    return attributes(0o555, 1, this.#files.size);
  }

  parent(): undefined {}

  lookup(name: string): Greeting | undefined {
    return this.#files.get(name);
  }

  /** Cookies are 3 for the first entry, 4 for the next. */
  readDirectory(cookie: number, visit: EntryVisitor): boolean {
    return [...this.#files].every(
      ([name, file], index) => index + 3 <= cookie || visit(name, index + 3, file),
    );
  }
}

function attributes(mode: number, fileId: number, size: number): Attributes {
  const time = { seconds: 0, nanoseconds: 0 };
  const times = { accessTime: time, modifyTime: time, metadataTime: time };
  return { mode, linkCount: 1, userId: 0, groupId: 0, size, spaceUsed: size, fileId, change: 1, ...times };
}

/** At most 253 names, of ASCII letters. */
export function greetings(names: readonly string[]): FileSystem {
  const files = names.map((name, index) => new Greeting(index + 2, `Hello, ${name}!\n`));
  const root = new Root(new Map(names.map((name, index) => [name, files[index]!])));
  const nodes: Node[] = [root, ...files];
  const space = { totalSpace: 0, freeSpace: 0, availableSpace: 0, maximumFileSize: Number.MAX_SAFE_INTEGER };
  return {
    root,
    resolve: (handle) => nodes.find((node) => Buffer.compare(node.handle, handle) === 0),
    statistics: () => ({ ...space, totalFiles: nodes.length, freeFiles: 0, availableFiles: 0 }),
  };
}
