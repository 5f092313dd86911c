import { join } from "node:path";
import type { PlainDigest } from "../plain-digest.ts";
import type { Side } from "./side.ts";
import type { SideSettings } from "./side-messages.ts";

const READ_BYTES = 1024 * 1024;
const STORE_BYTES = 1e10;

/** The storage client of the source tree at `tree`, with its local store in the directory. */
export async function storeSide(
  tree: URL,
  directory: string,
  { address, compression, threads }: SideSettings,
): Promise<Side> {
  const load = async <T>(path: string): Promise<T> => (await import(new URL(path, tree).href)) as T;
  const { grpcBackend } = await load<typeof import("../../src/cas/backend.ts")>("src/cas/backend.ts");
  const { createStorageClient } =
    await load<typeof import("../../src/cas/storage-client.ts")>("src/cas/storage-client.ts");
  const { defaultLocalStore } = await load<typeof import("../../src/config/blobstore/local.ts")>(
    "src/config/blobstore/local.ts",
  );
  const { SHA256 } = await load<typeof import("../../src/reapi/digest.ts")>("src/reapi/digest.ts");
  const backend = grpcBackend({ address }, { compression });
  const client = await createStorageClient({
    contentAddressableStorage: backend,
    actionCache: backend,
    localStore: defaultLocalStore(join(directory, "blobs"), STORE_BYTES),
    ...(threads !== undefined && { transferThreads: threads }),
  });
  await client.start();
  const digest = (plain: PlainDigest) => ({ instanceName: "", function: SHA256, ...plain });
  return {
    read: (plain) => client.read(digest(plain), 0, plain.sizeBytes),
    async stream(plain) {
      for (let offset = 0; offset < plain.sizeBytes; ) {
        offset += (await client.read(digest(plain), offset, READ_BYTES)).length;
      }
    },
    upload: (content) => client.hashAndUpload("", SHA256, content),
    close: () => client.close(),
  };
}
