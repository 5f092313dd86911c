import { CodedError } from "../grpc/coded-error.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";

/** Why somebody is not let in. */
export class AuthenticationError extends CodedError {
  override readonly name = "AuthenticationError";
  readonly code: Code;

  constructor(code: Code, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

export function unauthenticated(message: string, options?: ErrorOptions): AuthenticationError {
  return new AuthenticationError(Code.UNAUTHENTICATED, message, options);
}
