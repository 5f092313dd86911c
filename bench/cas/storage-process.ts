import { randomBytes } from "node:crypto";
import type { Digest } from "../../src/reapi/digest.ts";
import { FakeStorage } from "../../test/unit/cas/fake-storage.ts";
import type { PlainDigest } from "../plain-digest.ts";

/** What the benchmark's storage holds: given by the parent process. */
export interface StorageContents {
  readonly smallCount: number;
  readonly smallBytes: number;
  readonly largeCount: number;
  readonly largeBytes: number;
}

/** Its answer, by which it is ready. */
export interface StorageReady {
  readonly address: string;
  readonly small: readonly PlainDigest[];
  readonly large: readonly PlainDigest[];
}

const { smallCount, smallBytes, largeCount, largeBytes } = JSON.parse(process.argv[2]!) as StorageContents;
const storage = await FakeStorage.start({ zstd: true, pieceBytes: 1024 * 1024 });
const add = (content: Uint8Array): PlainDigest => {
  const { hash, sizeBytes }: Digest = storage.add(content);
  return { hash, sizeBytes };
};
/** Half of it can be compressed. */
const content = (sizeBytes: number) =>
  Buffer.concat([randomBytes(sizeBytes / 2), Buffer.alloc(sizeBytes / 2, "int main(void) { return 0; }\n")]);
const repeated = (sizeBytes: number) => Buffer.alloc(sizeBytes, content(1024 * 1024));
const ready: StorageReady = {
  address: storage.address,
  small: Array.from({ length: smallCount }, () => add(content(smallBytes))),
  large: Array.from({ length: largeCount }, () => add(repeated(largeBytes))),
};
process.send!(ready);
process.on("disconnect", () => process.exit());
