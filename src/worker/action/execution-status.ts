import { create } from "@bufbuild/protobuf";
import { status, statusFromError } from "../../grpc/status.ts";
import { MountError } from "../../mount/index.ts";
import { FileSystemError } from "../../nfs/file-system.ts";
import type { ExecuteResponse } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { type Status, StatusSchema } from "../../proto/gen/google/rpc/status_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { missingBlobs } from "../../reapi/missing-blobs.ts";
import { FilePoolError, QuotaExceededError } from "../../vfs/index.ts";

/**
 * The status with which `error` ends an action. `doing` says what could not be done, as in "cannot run the command".
 *
 * A blob that is not in the CAS becomes REAPI's FAILED_PRECONDITION naming it, so that the client uploads it and tries
 * again.
 */
export function executionStatus(error: unknown, doing: string): Status {
  const found = statusOf(error);
  return create(StatusSchema, { ...found, message: `cannot ${doing}: ${found.message}` });
}

function statusOf(error: unknown): Status {
  if (error instanceof SuppressedError) {
    // Cleaning up failed as well, after that.
    return statusOf(error.suppressed);
  }
  if (error instanceof BlobError && error.code === Code.NOT_FOUND && error.digest !== undefined) {
    return missingBlobs(error.message, [error.digest]);
  }
  if (error instanceof QuotaExceededError) {
    // As Buildbarn's: Bazel would repeat what ends in RESOURCE_EXHAUSTED, and meet the same quota.
    return status(Code.INVALID_ARGUMENT, error.message);
  }
  if (error instanceof FilePoolError) {
    // Another worker may have room.
    return status(Code.UNAVAILABLE, error.message);
  }
  if (error instanceof FileSystemError) {
    return status(Code.INTERNAL, `the build directory's file system says ${error.message}`);
  }
  if (error instanceof MountError) {
    return status(Code.INTERNAL, error.message);
  }
  return statusFromError(error);
}

/** Makes the error the response's status, unless it has one: later errors tend to follow from the first. */
export function attachError(response: ExecuteResponse, error: unknown, doing: string): void {
  if (!isFailed(response)) {
    response.status = executionStatus(error, doing);
  }
}

/** Whether the response is of an action that could not be completed. */
export function isFailed(response: ExecuteResponse): boolean {
  return (response.status?.code ?? Code.OK) !== Code.OK;
}
