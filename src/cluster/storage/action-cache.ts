import { createHash } from "node:crypto";
import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Handlers } from "../../grpc/handlers.ts";
import { unary } from "../../grpc/handlers.ts";
import { failure } from "../../grpc/status.ts";
import {
  type ActionCache as ActionCacheProto,
  type ActionResult,
  ActionResultSchema,
  type GetActionResultRequest,
  type UpdateActionResultRequest,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { isComplete } from "../../reapi/completeness.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { digestFromWire } from "../../reapi/wire-digest.ts";
import type { BlobStore } from "./blob-store.ts";

const CHECKSUM_BYTES = 32;

/**
 * Action results, one file each, by instance name and action digest. A result is given out only as long as all
 * that it refers to is in the CAS.
 */
export class ActionCache {
  readonly #folder: string;
  readonly #blobs: BlobStore;
  #temporaryFiles = 0;

  private constructor(folder: string, blobs: BlobStore) {
    this.#folder = folder;
    this.#blobs = blobs;
  }

  static async open(folder: string, blobs: BlobStore): Promise<ActionCache> {
    await rm(join(folder, "tmp"), { recursive: true, force: true });
    await mkdir(join(folder, "tmp"), { recursive: true });
    return new ActionCache(folder, blobs);
  }

  /** The action's result; undefined if there is none, or if some of its outputs are no longer in the CAS. */
  async get(actionDigest: Digest): Promise<ActionResult | undefined> {
    const content = await readFile(this.#path(actionDigest)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") {
        return undefined;
      }
      throw error;
    });
    if (!content) {
      return undefined;
    }
    const result = content.subarray(CHECKSUM_BYTES);
    // Otherwise a file cut short by a power failure would be a success without outputs.
    if (!checksum(result).equals(content.subarray(0, CHECKSUM_BYTES))) {
      return undefined;
    }
    const actionResult = fromBinary(ActionResultSchema, result);
    if (await isComplete(actionResult, actionDigest, this.#blobs)) {
      return actionResult;
    }
    await rm(this.#path(actionDigest), { force: true });
    return undefined;
  }

  async update(actionDigest: Digest, actionResult: ActionResult): Promise<void> {
    const content = toBinary(ActionResultSchema, actionResult);
    const path = this.#path(actionDigest);
    const temporary = join(this.#folder, "tmp", String(this.#temporaryFiles++));
    await writeFile(temporary, Buffer.concat([checksum(content), content]));
    await mkdir(join(path, ".."), { recursive: true });
    await rename(temporary, path);
  }

  #path(actionDigest: Digest): string {
    const name = createHash("sha256")
      .update(`${actionDigest.instanceName}\0${digestKey(actionDigest)}`)
      .digest("hex");
    return join(this.#folder, name.slice(0, 2), name);
  }
}

/** The REAPI service ActionCache. */
export function actionCacheService(cache: ActionCache): Handlers<typeof ActionCacheProto> {
  return {
    getActionResult: unary(async (request: GetActionResultRequest) => {
      const digest = actionDigestOf(request);
      const result = await cache.get(digest);
      if (!result) {
        throw failure(Code.NOT_FOUND, `there is no result of action ${digestKey(digest)}`);
      }
      return result;
    }),

    updateActionResult: unary(async (request: UpdateActionResultRequest) => {
      const digest = actionDigestOf(request);
      if (!request.actionResult) {
        throw failure(Code.INVALID_ARGUMENT, "the request has no action_result");
      }
      await cache.update(digest, request.actionResult);
      return request.actionResult;
    }),
  };
}

function actionDigestOf(request: GetActionResultRequest | UpdateActionResultRequest): Digest {
  return digestFromWire(request.instanceName, request.digestFunction, request.actionDigest, "action_digest");
}

function checksum(content: Uint8Array): Buffer {
  return createHash("sha256").update(content).digest();
}
