import { statusFromError } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";

/** As Buildbarn shows a gRPC status by HTTP: its status, and Go's name of the code. */
const SHOWN: Readonly<Record<number, readonly [status: number, name: string]>> = {
  [Code.CANCELLED]: [499, "Canceled"],
  [Code.INVALID_ARGUMENT]: [400, "InvalidArgument"],
  [Code.DEADLINE_EXCEEDED]: [504, "DeadlineExceeded"],
  [Code.NOT_FOUND]: [404, "NotFound"],
  [Code.PERMISSION_DENIED]: [403, "PermissionDenied"],
  [Code.RESOURCE_EXHAUSTED]: [429, "ResourceExhausted"],
  [Code.FAILED_PRECONDITION]: [400, "FailedPrecondition"],
  [Code.UNIMPLEMENTED]: [501, "Unimplemented"],
  [Code.INTERNAL]: [500, "Internal"],
  [Code.UNAVAILABLE]: [503, "Unavailable"],
  [Code.UNAUTHENTICATED]: [401, "Unauthenticated"],
};

/** What a client is told that is not let in for an error. */
export function refusalOf(error: unknown): { readonly status: number; readonly text: string } {
  const { code, message } = statusFromError(error);
  const [status, name] = SHOWN[code] ?? [500, "Unknown"];
  return { status, text: `rpc error: code = ${name} desc = ${message}` };
}
