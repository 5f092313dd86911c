import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { Status } from "../proto/gen/google/rpc/status_pb.ts";
import { StatusSchema } from "../proto/gen/google/rpc/status_pb.ts";
import { CodedError } from "./coded-error.ts";

/** The trailer in which gRPC carries a google.rpc.Status. */
const DETAILS_TRAILER = "grpc-status-details-bin";

/**
 * An error with a gRPC status. Our own code throws it, and grpc-js's handlers pass it to their callback or emit
 * it as "error"; its details reach the client.
 */
export class StatusError extends Error {
  override readonly name = "StatusError";
  readonly status: Status;

  constructor(status: Status, options?: ErrorOptions) {
    super(status.message, options);
    this.status = status;
  }

  /** A google.rpc.Code, which is the gRPC status code. */
  get code(): number {
    return this.status.code;
  }

  /** The message, under grpc-js's name for it. */
  get details(): string {
    return this.status.message;
  }

  get metadata(): Metadata {
    const metadata = new Metadata();
    if (this.status.details.length > 0) {
      metadata.set(DETAILS_TRAILER, Buffer.from(toBinary(StatusSchema, this.status)));
    }
    return metadata;
  }
}

/** A google.rpc.Status. Details are made with `packAny`. */
export function status(code: Code, message: string, details: Any[] = []): Status {
  return create(StatusSchema, { code, message, details });
}

/** Shorthand for an error with a code, a message and no details. */
export function failure(code: Code, message: string, options?: ErrorOptions): StatusError {
  return new StatusError(status(code, message), options);
}

/** The error that gives a call the status that any thrown value stands for. */
export function toStatusError(error: unknown): StatusError {
  return error instanceof StatusError ? error : new StatusError(statusFromError(error), { cause: error });
}

/**
 * The status that any thrown value stands for: that of a StatusError or CodedError; that of a grpc-js ServiceError,
 * with the details the server sent; CANCELLED for an AbortError; otherwise UNKNOWN with the error's message.
 */
export function statusFromError(error: unknown): Status {
  if (error instanceof StatusError) {
    return error.status;
  }
  if (!(error instanceof Error)) {
    return status(Code.UNKNOWN, String(error));
  }
  if (error instanceof CodedError) {
    return status(error.code as Code, error.message);
  }
  if (isServiceError(error)) {
    return sentStatus(error.metadata) ?? status(error.code, error.details);
  }
  return status(error.name === "AbortError" ? Code.CANCELLED : Code.UNKNOWN, error.message);
}

/** Wraps a message, or the object to make one of, for a field of type google.protobuf.Any. */
export function packAny<D extends DescMessage>(desc: D, message: MessageInitShape<D>): Any {
  return anyPack(desc, create(desc, message));
}

function isServiceError(error: Error): error is Error & { code: Code; details: string; metadata: Metadata } {
  return (
    "code" in error &&
    typeof error.code === "number" &&
    "details" in error &&
    typeof error.details === "string" &&
    "metadata" in error &&
    error.metadata instanceof Metadata
  );
}

/** The status in the trailer; undefined if there is none or it cannot be decoded. */
function sentStatus(metadata: Metadata): Status | undefined {
  const [bytes] = metadata.get(DETAILS_TRAILER);
  if (!(bytes instanceof Uint8Array)) {
    return undefined;
  }
  try {
    return fromBinary(StatusSchema, bytes);
  } catch {
    return undefined;
  }
}
