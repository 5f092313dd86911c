import type { JsonObject } from "@bufbuild/protobuf";
import type { Metadata } from "@grpc/grpc-js";

/** A call that is served, as those see it that are made for it. */
export interface IncomingCall {
  readonly metadata: Metadata;
  /** What its server has learnt of who makes it: Buildbarn's AuthenticationMetadata, as JSON. */
  readonly authentication: JsonObject;
}

/** grpc-js passes nothing from an interceptor to a handler but the metadata. */
const AUTHENTICATION = Symbol("authentication");

/** Lets the handler of the call with this metadata know who makes it. */
export function setAuthentication(metadata: Metadata, authentication: JsonObject): void {
  Object.assign(metadata, { [AUTHENTICATION]: authentication });
}

export function authenticationOf(metadata: Metadata): JsonObject {
  return (metadata as { [AUTHENTICATION]?: JsonObject })[AUTHENTICATION] ?? {};
}
