import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EntryKey, frameOf } from "../../../../src/cas/local/layout.ts";
import { LocalStore } from "../../../../src/cas/local/local-store.ts";
import type { LocalStoreContext, LocalStoreOptions } from "../../../../src/cas/local/options.ts";

/** A folder for a store and its state, removed at the end. */
export async function storeFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), "store-test-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

/** A store in the folder: seven blocks of 16 KiB unless other sizes are given. */
export function storeOptions(folder: string, changes: Partial<LocalStoreOptions> = {}): LocalStoreOptions {
  return {
    blocks: { kind: "file", path: join(folder, "blobs"), sizeBytes: 4096 + 7 * 16 * 1024 },
    oldBlocks: 2,
    currentBlocks: 2,
    newBlocks: 2,
    spareBlocks: 1,
    keyLocationMap: { maximumEntries: 10_000, maximumGetAttempts: 16, maximumPutAttempts: 64 },
    persistent: { stateDirectoryPath: join(folder, "state"), minimumEpochIntervalMilliseconds: 300_000 },
    trustMilliseconds: 3_600_000,
    hierarchicalInstanceNames: false,
    ...changes,
  };
}

export function openStore(
  folder: string,
  changes: Partial<LocalStoreOptions> = {},
  context: LocalStoreContext = {},
): Promise<LocalStore> {
  return LocalStore.open(storeOptions(folder, changes), context);
}

/** So many bytes that belong to a name. */
export function contentFor(name: string, size: number): Buffer {
  const seed = createHash("sha256").update(name).digest();
  const content = Buffer.alloc(size);
  for (let offset = 0; offset < size; offset++) {
    content[offset] = seed[offset % 32]! ^ (offset >> 5);
  }
  return content;
}

export function put(store: LocalStore, name: string, size: number): boolean | Promise<boolean> {
  const [key] = store.keysOf(name, "");
  return store.put([{ key, frame: frameOf(contentFor(name, size), store.identity), contentBytes: size }]);
}

/** What the store has of that name; undefined if it has nothing. */
export async function get(store: LocalStore, name: string, size: number): Promise<Buffer | undefined> {
  const entry = store.find(store.keysOf(name, ""), size);
  const content = entry && (await store.readWhole(entry));
  return content && Buffer.from(content);
}

export function keyOf(store: LocalStore, name: string): EntryKey {
  return store.keysOf(name, "")[0];
}
