import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import type { InputRootEntry } from "../../src/cluster/storage/import-input-root.ts";
import {
  DirectoryNodeSchema,
  DirectorySchema,
  FileNodeSchema,
} from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Digest } from "../../src/reapi/digest.ts";
import { digestMessage } from "../../src/reapi/wire-digest.ts";
import { collectDebianRoot } from "../demo/debian-root.ts";
import { rootEntries } from "../demo/root-entries.ts";

/** What scenarios put input roots into the storage with. */
export class Preparation {
  readonly storage: EmbeddedStorage;
  /** Whether small ones will do. */
  readonly quick: boolean;
  readonly progress: (text: string) => void;
  #system: Promise<Digest> | undefined;

  constructor(storage: EmbeddedStorage, quick: boolean, progress: (text: string) => void) {
    this.storage = storage;
    this.quick = quick;
    this.progress = progress;
  }

  /** A C compiler's root file system, out of this machine's packages: some 13,500 files. */
  system(): Promise<Digest> {
    this.#system ??= this.#importSystem();
    return this.#system;
  }

  /** That root file system with one more directory at its top. */
  async systemWithDirectory(name: string, entries: Iterable<InputRootEntry>): Promise<Digest> {
    const { digest } = await this.storage.importInputRoot(entries);
    const root = await this.#systemDirectory();
    root.directories.push(create(DirectoryNodeSchema, { name, digest: digestMessage(digest) }));
    root.directories.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    return this.storage.putBlob(toBinary(DirectorySchema, root));
  }

  /** That root file system with one more file at its top. */
  async systemWithFile(name: string, hostPath: string): Promise<Digest> {
    const entry: InputRootEntry = { path: name, type: "file", isExecutable: false, hostPath };
    const digest = (await this.storage.importInputRoot([entry])).fileDigests.get(name)!;
    const root = await this.#systemDirectory();
    root.files.push(create(FileNodeSchema, { name, digest: digestMessage(digest) }));
    root.files.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
    return this.storage.putBlob(toBinary(DirectorySchema, root));
  }

  async #systemDirectory() {
    return fromBinary(DirectorySchema, await this.storage.blobs.read(await this.system()));
  }

  async #importSystem(): Promise<Digest> {
    this.progress("a C compiler's root file system");
    const { digest } = await this.storage.importInputRoot(rootEntries(await collectDebianRoot()));
    return digest;
  }
}
