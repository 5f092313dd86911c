import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { grpcBackend } from "../../../src/cas/backend.ts";
import type { LocalStoreOptions } from "../../../src/cas/local/options.ts";
import {
  createStorageClient,
  type StorageClient,
  type StorageClientOptions,
} from "../../../src/cas/storage-client.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";
import { FakeStorage, type FakeStorageOptions } from "./fake-storage.ts";
import { storeOptions } from "./local/stores.ts";

/** Above what goes in batches. */
export const chunk = 128 * 1024;

export interface Fixture extends AsyncDisposable {
  readonly storage: FakeStorage;
  readonly client: StorageClient;
  /** Of the local store. */
  readonly directory: string;
  /** Another client on the same local store; the first one must be closed. */
  reopen(options?: Partial<StorageClientOptions>): Promise<StorageClient>;
}

/** A client of a storage server of its own, with small chunks, quick retries and no threads unless asked for. */
export async function fixture(
  options: Partial<StorageClientOptions> & { storage?: FakeStorageOptions; compression?: boolean } = {},
): Promise<Fixture> {
  const { storage: storageOptions, compression = false, ...clientOptions } = options;
  const storage = await FakeStorage.start(storageOptions);
  const directory = await mkdtemp(join(tmpdir(), "cas-test-"));
  const clients: StorageClient[] = [];
  const open = async (more: Partial<StorageClientOptions> = {}) => {
    const backend = grpcBackend({ address: storage.address }, { compression });
    const client = await createStorageClient({
      contentAddressableStorage: backend,
      actionCache: backend,
      localStore: localStore(directory, 2 ** 29),
      chunkSizeBytes: chunk,
      readAheadBytes: 0,
      transferThreads: 0,
      ...clientOptions,
      ...more,
      retryPolicy: {
        maximumAttempts: 3,
        initialDelayMilliseconds: 1,
        maximumDelayMilliseconds: 2,
        ...clientOptions.retryPolicy,
      },
    });
    clients.push(client);
    return client;
  };
  const client = await open();
  return {
    storage,
    client,
    directory,
    reopen: open,
    async [Symbol.asyncDispose]() {
      for (const each of clients) {
        await each.close();
      }
      storage.stop();
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** A store of so many bytes, in the directory. */
export function localStore(directory: string, sizeBytes: number): LocalStoreOptions {
  return storeOptions(directory, { blocks: { kind: "file", path: join(directory, "blobs"), sizeBytes } });
}

/** Puts random blobs of these sizes into storage, and has the client read all of each. */
export async function fetchBlobs(f: Fixture, sizes: readonly number[]) {
  const contents = sizes.map((size) => randomBytes(size));
  const digests = contents.map((content) => f.storage.add(content));
  for (const digest of digests) {
    await readAll(f.client, digest);
  }
  return { contents, digests };
}

/** For assert.rejects. */
export function blobError(code: number, message?: RegExp) {
  return (error: unknown) => {
    if (!(error instanceof BlobError) || error.code !== code) {
      throw error;
    }
    if (message !== undefined && !message.test(error.message)) {
      throw error;
    }
    return true;
  };
}

/** All of a file, as a sequential reader sees it. */
export async function readAll(
  client: StorageClient,
  digest: Parameters<StorageClient["read"]>[0],
  step = 10_000,
): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for (let offset = 0; offset < digest.sizeBytes; ) {
    const part = await client.read(digest, offset, step);
    if (part.length === 0) {
      throw new Error(`nothing at ${offset} of ${digest.sizeBytes}`);
    }
    parts.push(part);
    offset += part.length;
  }
  return Buffer.concat(parts);
}
