/** A file system whose attributes are somewhere else: the server has them refreshed before it looks at them. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type Attributes,
  type FileSystem,
  FileSystemError,
  FileSystemStatus,
  type MaybePromise,
  type Node,
  ReadOnlyDirectory,
  ReadOnlyFile,
} from "../../../src/nfs/index.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, name, type Step } from "./client.ts";
import { serve } from "./fixture.ts";

const TIME = { seconds: 0, nanoseconds: 0 };
const SIZE: Step = [
  "GETATTR",
  (writer) => {
    writer.uint32(1);
    writer.uint32(1 << Attribute.SIZE);
  },
];

/** The size of what is far away, and how often it was asked for. */
class Far {
  size = 5;
  asked = 0;
}

class FarFile extends ReadOnlyFile {
  readonly handle = Buffer.from("file");
  readonly values = attributes(2, 0o644);

  attributes(): Attributes {
    return this.values;
  }

  read(): Uint8Array {
    return new Uint8Array(0);
  }
}

class FarDirectory extends ReadOnlyDirectory {
  readonly handle = Buffer.from("root");
  readonly file = new FarFile();
  readonly values = attributes(1, 0o755);

  attributes(): Attributes {
    return this.values;
  }

  parent(): undefined {
    return undefined;
  }

  lookup(): Node {
    return this.file;
  }

  readDirectory(): boolean {
    return true;
  }
}

class FarFileSystem implements FileSystem {
  readonly root = new FarDirectory();
  readonly #far: Far;

  constructor(far: Far) {
    this.#far = far;
  }

  resolve(handle: Uint8Array): Node | undefined {
    return handle.length === 4 ? this.root.file : undefined;
  }

  refresh(node: Node): MaybePromise<void> {
    if (node !== this.root.file) {
      return;
    }
    return (async () => {
      await new Promise(setImmediate);
      this.#far.asked++;
      if (this.#far.size < 0) {
        throw new FileSystemError(FileSystemStatus.IO);
      }
      this.root.file.values.size = this.#far.size;
    })();
  }

  statistics() {
    const space = { totalSpace: 0, freeSpace: 0, availableSpace: 0, maximumFileSize: 1000 };
    return { ...space, totalFiles: 1, freeFiles: 0, availableFiles: 0 };
  }
}

function attributes(fileId: number, mode: number): Attributes {
  const times = { accessTime: TIME, modifyTime: TIME, metadataTime: TIME };
  return { mode, linkCount: 1, userId: 0, groupId: 0, size: 0, spaceUsed: 0, fileId, change: 1, ...times };
}

describe("a file system whose attributes are somewhere else", () => {
  it("is asked to refresh them before an operation looks at a node", async (t) => {
    const far = new Far();
    const { session } = await serve(t, { fileSystem: new FarFileSystem(far) });
    const client = await session();
    for (const size of [5, 6]) {
      far.size = size;
      const { reader } = await client.call([["PUTROOTFH"], ["LOOKUP", name("file")], SIZE]);
      for (const step of ["PUTROOTFH", "LOOKUP", "GETATTR"] as const) {
        expectResult(reader, step);
      }
      reader.skip(12);
      assert.equal(reader.uint64(), size);
    }
    assert.equal(far.asked, 2);
  });

  it("fails the operation when it cannot", async (t) => {
    const far = new Far();
    far.size = -1;
    const { session } = await serve(t, { fileSystem: new FarFileSystem(far) });
    const { status } = await (await session()).call([["PUTROOTFH"], ["LOOKUP", name("file")], SIZE]);
    assert.equal(status, Status.IO);
  });
});
