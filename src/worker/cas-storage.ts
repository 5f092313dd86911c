import { fromBinary } from "@bufbuild/protobuf";
import type { StorageClient } from "../cas/storage-client.ts";
import { StatusError, status } from "../grpc/status.ts";
import type { RegularFile } from "../nfs/file-system.ts";
import {
  type Command,
  CommandSchema,
} from "../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../reapi/digest.ts";
import { CasFile, WritableFile } from "../vfs/index.ts";
import type { ActionStorage } from "./action/action-storage.ts";

/**
 * Actions' storage in a storage client.
 *
 * @param maximumUploadDelay Milliseconds to wait for an output that something still has open for writing; it is
 *   uploaded as it is then.
 */
export function casStorage(store: StorageClient, maximumUploadDelay: number): ActionStorage {
  return {
    async command(digest) {
      return parseCommand(await store.message(digest), digest);
    },
    outputStore({ instanceName, function: digestFunction }, signal) {
      return {
        instanceName,
        digestFunction,
        uploadBytes: (digest, bytes) => store.upload(digest, bytes, signal),
        async uploadFile(file) {
          await released(file, maximumUploadDelay);
          const { size } = await file.attributes();
          const source = {
            sizeBytes: size,
            read: async (offset: number, count: number) => file.read(offset, count),
          };
          const known = knownDigest(file);
          if (known === undefined) {
            return store.hashAndUpload(instanceName, digestFunction, source, signal);
          }
          const digest = { ...known, instanceName };
          await store.upload(digest, source, signal);
          return digest;
        },
      };
    },
    updateActionResult: (action, result, signal) => store.updateActionResult(action, result, signal),
  };
}

function parseCommand(bytes: Uint8Array, digest: Digest): Command {
  try {
    return fromBinary(CommandSchema, bytes);
  } catch (error) {
    throw new StatusError(
      status(Code.INVALID_ARGUMENT, `blob ${digest.hash} is not a Command: ${(error as Error).message}`),
      { cause: error },
    );
  }
}

/** An input that is still as it was, and a clone of one, need no hashing. */
function knownDigest(file: RegularFile): Digest | undefined {
  return file instanceof CasFile || file instanceof WritableFile ? file.digest : undefined;
}

async function released(file: RegularFile, maximumDelay: number): Promise<void> {
  if (!(file instanceof WritableFile) || !file.retained) {
    return;
  }
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, maximumDelay);
  await Promise.race([file.released(), late]);
  clearTimeout(timer);
}
