import { setImmediate } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import {
  type Action,
  type Directory,
  DirectorySchema,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { type Digest, digestKey } from "../reapi/digest.ts";
import { relatedDigest, type WireDigest } from "../reapi/wire-digest.ts";

/** An action that is queued or executing. */
export interface ActionInFlight {
  readonly actionDigest: Digest;
  readonly action: Pick<Action, "commandDigest" | "inputRootDigest"> | undefined;
}

/** Directories; so many take a few milliseconds. */
const DIRECTORIES_A_TURN = 100;

/**
 * What actions in flight need of storage: Action, Command, and the whole input root. What cannot be read is left out:
 * such an action fails by itself.
 */
export class NeededBlobs {
  readonly #inFlight: () => Iterable<ActionInFlight>;
  readonly #read: (digest: Digest) => Promise<Uint8Array>;
  readonly #seen = new Set<ActionInFlight>();
  readonly #keys = new Set<string>();
  readonly #directories: Digest[] = [];

  constructor(inFlight: () => Iterable<ActionInFlight>, read: (digest: Digest) => Promise<Uint8Array>) {
    this.#inFlight = inFlight;
    this.#read = read;
  }

  /** The keys of the needed blobs. When it resolves, there is no action in flight that is not taken into account. */
  async keys(): Promise<ReadonlySet<string>> {
    this.#noteActions();
    for (let visited = 1; this.#directories.length > 0; visited++) {
      const digest = this.#directories.pop()!;
      const directory = await readDirectory(digest, this.#read);
      for (const { digest: file } of directory?.files ?? []) {
        this.#need(digest, file, false);
      }
      for (const { digest: child } of directory?.directories ?? []) {
        this.#need(digest, child, true);
      }
      if (visited % DIRECTORIES_A_TURN === 0) {
        await setImmediate();
      }
      this.#noteActions();
    }
    return this.#keys;
  }

  #noteActions(): void {
    for (const each of this.#inFlight()) {
      if (!this.#seen.has(each)) {
        this.#seen.add(each);
        this.#keys.add(digestKey(each.actionDigest));
        this.#need(each.actionDigest, each.action?.commandDigest, false);
        this.#need(each.actionDigest, each.action?.inputRootDigest, true);
      }
    }
  }

  #need(context: Digest, wireDigest: WireDigest | undefined, isDirectory: boolean): void {
    let digest: Digest;
    try {
      digest = relatedDigest(context, wireDigest, "digest");
    } catch {
      return;
    }
    const key = digestKey(digest);
    if (isDirectory && !this.#keys.has(key)) {
      this.#directories.push(digest);
    }
    this.#keys.add(key);
  }
}

async function readDirectory(
  digest: Digest,
  read: (digest: Digest) => Promise<Uint8Array>,
): Promise<Directory | undefined> {
  try {
    return fromBinary(DirectorySchema, await read(digest));
  } catch {
    return undefined;
  }
}
