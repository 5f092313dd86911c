import { packAny, status } from "../grpc/status.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../proto/gen/google/rpc/error_details_pb.ts";
import type { Status } from "../proto/gen/google/rpc/status_pb.ts";
import type { Digest } from "./digest.ts";
import { missingBlobSubject } from "./resource-name.ts";

/**
 * The FAILED_PRECONDITION by which an execution reports blobs that are not in the CAS (REAPI, Execute): the client
 * uploads them and tries again.
 */
export function missingBlobs(message: string, digests: readonly Digest[]): Status {
  const violations = digests.map((digest) => ({ type: "MISSING", subject: missingBlobSubject(digest) }));
  return status(Code.FAILED_PRECONDITION, message, [packAny(PreconditionFailureSchema, { violations })]);
}
