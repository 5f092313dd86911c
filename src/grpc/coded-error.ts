/**
 * Base of errors of other layers that stand for a gRPC status: `code` and the message are what a client is told.
 * It imports nothing, so that even what runs far from any call can throw such errors.
 */
export abstract class CodedError extends Error {
  /** A google.rpc.Code, which is the gRPC status code. */
  abstract readonly code: number;
}
