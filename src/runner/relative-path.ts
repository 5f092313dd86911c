import { posix } from "node:path";
import { StatusError, status } from "../grpc/status.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";

/**
 * A path of a request in its shortest form: relative and, as far as its text says, not leaving the directory it is
 * relative to. "" and "." both become ".".
 *
 * Throws a StatusError, INVALID_ARGUMENT, naming the request's field.
 */
export function relativePath(field: string, path: string): string {
  const problem = problemOf(path);
  if (problem !== undefined) {
    throw new StatusError(status(Code.INVALID_ARGUMENT, `${field} ${JSON.stringify(path)} ${problem}`));
  }
  const normal = posix.normalize(path);
  return normal.length > 1 && normal.endsWith("/") ? normal.slice(0, -1) : normal;
}

function problemOf(path: string): string | undefined {
  if (path.includes("\0")) {
    return "contains a NUL byte";
  }
  if (path.startsWith("/")) {
    return "is absolute; expected a relative path";
  }
  const normal = posix.normalize(path);
  if (normal === ".." || normal.startsWith("../")) {
    return "leaves the directory it is relative to";
  }
  return undefined;
}
