import { fromBinary } from "@bufbuild/protobuf";
import { waitAtMost } from "../../async/wait.ts";
import type { StorageClient } from "../../cas/storage-client.ts";
import { StatusError, status } from "../../grpc/status.ts";
import {
  type ActionResult,
  type Command,
  CommandSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../reapi/digest.ts";
import { CasFile, WritableFile } from "../../vfs/index.ts";
import { NativeFile } from "../native/native-files.ts";
import type { ActionFile } from "./action-files.ts";
import type { OutputUploader } from "./outputs/output-upload.ts";

/** What the executor needs of the CAS and the action cache. */
export interface ActionBlobAccess {
  command(digest: Digest, signal: AbortSignal): Promise<Command>;
  /** For the outputs of one action, under the instance name and digest function of `action`. */
  outputUploader(action: Digest, signal: AbortSignal): OutputUploader;
  updateActionResult(action: Digest, result: ActionResult, signal: AbortSignal): Promise<void>;
}

/**
 * Implements it with a storage client.
 *
 * @param maximumUploadDelay Milliseconds to wait for an output that something still has open for writing; after that
 *   it is uploaded as it is.
 */
export function actionBlobAccess(storage: StorageClient, maximumUploadDelay: number): ActionBlobAccess {
  return {
    async command(digest) {
      return parseCommand(await storage.message(digest), digest);
    },
    outputUploader({ instanceName, function: digestFunction }, signal) {
      return {
        instanceName,
        digestFunction,
        uploadBytes: (digest, bytes) => storage.upload(digest, bytes, signal),
        async uploadFile(file) {
          if (file instanceof NativeFile) {
            return file.whileOpen((source) =>
              storage.hashAndUpload(instanceName, digestFunction, source, signal),
            );
          }
          if (file instanceof WritableFile && file.retained) {
            await waitAtMost(file.released(), maximumUploadDelay);
          }
          const { size } = file.attributes();
          const source = {
            sizeBytes: size,
            read: async (offset: number, count: number) => file.read(offset, count),
          };
          const known = knownDigest(file);
          if (known === undefined) {
            return storage.hashAndUpload(instanceName, digestFunction, source, signal);
          }
          const digest = { ...known, instanceName };
          await storage.upload(digest, source, signal);
          return digest;
        },
      };
    },
    updateActionResult: (action, result, signal) => storage.updateActionResult(action, result, signal),
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

/** Unchanged inputs and clones of them need no hashing. */
function knownDigest(file: ActionFile): Digest | undefined {
  return file instanceof CasFile || file instanceof WritableFile ? file.digest : undefined;
}
