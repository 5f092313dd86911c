import { fromBinary } from "@bufbuild/protobuf";
import { unlessAborted, waitAtMost } from "../../async/wait.ts";
import type { StorageClient } from "../../cas/storage-client.ts";
import { StatusError, status } from "../../grpc/status.ts";
import { FileSystemError, FileSystemStatus } from "../../nfs/file-system.ts";
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
  /** Stores what nobody can have stored before. */
  uploadNew(digest: Digest, bytes: Uint8Array, signal: AbortSignal): Promise<void>;
}

export interface ActionBlobAccessOptions {
  /**
   * Milliseconds to wait for an output that something still has open for writing; after that it is uploaded as it is.
   */
  readonly maximumUploadDelay: number;
  /** Bytes that the file pool can hold. An output that is longer can only be a hole, and is not worth hashing. */
  readonly filePoolBytes: () => number;
}

/** Implements it with a storage client. */
export function actionBlobAccess(
  storage: StorageClient,
  { maximumUploadDelay, filePoolBytes }: ActionBlobAccessOptions,
): ActionBlobAccess {
  return {
    async command(digest) {
      return parseCommand(await storage.message(digest), digest);
    },
    outputUploader({ instanceName, function: digestFunction }, signal) {
      return {
        instanceName,
        digestFunction,
        uploadBytes: (digest, bytes) => storage.upload(digest, bytes, signal),
        async uploadFile(file, path) {
          if (file instanceof NativeFile) {
            return file.whileOpen((source) =>
              storage.hashAndUpload(instanceName, digestFunction, source, signal),
            );
          }
          if (file instanceof WritableFile && file.retained) {
            await waitAtMost(file.released(), maximumUploadDelay, signal);
          }
          return unlessChanged(file, path, async () => {
            const { size } = file.attributes();
            const source = {
              sizeBytes: size,
              read: async (offset: number, count: number) => file.read(offset, count),
            };
            const known = knownDigest(file);
            if (known === undefined) {
              requirePossibleSize(file, path, filePoolBytes());
              // The content of an input may never come.
              return unlessAborted(
                storage.hashAndUpload(instanceName, digestFunction, source, signal),
                signal,
              );
            }
            const digest = { ...known, instanceName };
            await storage.upload(digest, source, signal);
            return digest;
          });
        },
      };
    },
    updateActionResult: (action, result, signal) => storage.updateActionResult(action, result, signal),
    uploadNew: (digest, bytes, signal) => storage.uploadNew(digest, bytes, signal),
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

function requirePossibleSize(file: ActionFile, path: string, filePoolBytes: number): void {
  if (file instanceof WritableFile && file.chargedBytes > filePoolBytes) {
    throw new StatusError(
      status(
        Code.INVALID_ARGUMENT,
        `output ${JSON.stringify(path)} is ${file.size} bytes long, most of them a hole: ` +
          `more than the ${filePoolBytes} bytes of the file pool`,
      ),
    );
  }
}

/**
 * The content is read twice, to be hashed and to be sent. Something that the command has left behind may change the file
 * in between: then its digest would be that of nothing. Once `upload` has begun, the file may lose its name.
 */
async function unlessChanged(file: ActionFile, path: string, upload: () => Promise<Digest>): Promise<Digest> {
  if (!(file instanceof WritableFile)) {
    return upload();
  }
  const before = file.contentChanges;
  const [outcome] = await Promise.allSettled([file.whileKept(upload)]);
  if (file.contentChanges !== before) {
    throw goesOn(path, "was changed while it was uploaded");
  }
  if (outcome.status === "fulfilled") {
    return outcome.value;
  }
  throw outcome.reason instanceof FileSystemError && outcome.reason.status === FileSystemStatus.STALE
    ? goesOn(path, "was removed before it was uploaded")
    : outcome.reason;
}

function goesOn(path: string, what: string): StatusError {
  return new StatusError(
    status(
      Code.INVALID_ARGUMENT,
      `output ${JSON.stringify(path)} ${what}: something that the command has started goes on after its end`,
    ),
  );
}

/** Unchanged inputs and clones of them need no hashing. */
function knownDigest(file: ActionFile): Digest | undefined {
  return file instanceof CasFile || file instanceof WritableFile ? file.digest : undefined;
}
