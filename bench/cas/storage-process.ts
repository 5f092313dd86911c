import { randomBytes } from "node:crypto";
import { FakeStorage } from "../../test/unit/cas/fake-storage.ts";

/** What the benchmark's storage holds: given by the parent process, answered with the digests. */
export interface StorageContents {
  readonly smallCount: number;
  readonly smallBytes: number;
  readonly largeBytes: number;
}

const { smallCount, smallBytes, largeBytes } = JSON.parse(process.argv[2]!) as StorageContents;
const storage = await FakeStorage.start({ pieceBytes: 1024 * 1024 });
const digests = Array.from({ length: smallCount }, () => storage.add(randomBytes(smallBytes)));
const large = storage.add(Buffer.alloc(largeBytes, randomBytes(1024 * 1024)));
const plain = ({ hash, sizeBytes }: { hash: string; sizeBytes: number }) => ({ hash, sizeBytes });
process.send!({ address: storage.address, small: digests.map(plain), large: plain(large) });
process.on("disconnect", () => process.exit());
