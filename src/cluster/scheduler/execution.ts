import { randomUUID } from "node:crypto";
import { fromBinary } from "@bufbuild/protobuf";
import type { Any } from "@bufbuild/protobuf/wkt";
import type { Metadata } from "@grpc/grpc-js";
import type { Handlers } from "../../grpc/handlers.ts";
import { type CallContext, serverStreaming } from "../../grpc/handlers.ts";
import { failure, packAny, StatusError } from "../../grpc/status.ts";
import {
  type Action,
  ActionSchema,
  CommandSchema,
  type ExecuteRequest,
  ExecuteResponseSchema,
  type Execution,
  ExecutionStage_Value,
  type Platform,
  RequestMetadataSchema,
  type WaitExecutionRequest,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Operation as OperationMessage } from "../../proto/gen/google/longrunning/operations_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { type Digest, digestKey } from "../../reapi/digest.ts";
import { missingBlobs } from "../../reapi/missing-blobs.ts";
import { digestFromWire, relatedDigest } from "../../reapi/wire-digest.ts";
import type { EmbeddedStorage } from "../storage/embedded-storage.ts";
import type { BuildQueue } from "./build-queue.ts";
import { operationMessage } from "./operation.ts";
import { platformKey } from "./platform.ts";

const REQUEST_METADATA_HEADER = "build.bazel.remote.execution.v2.requestmetadata-bin";
const TRACE_CONTEXT_HEADERS = ["traceparent", "tracestate"];

/** The REAPI service Execution. */
export function executionService(queue: BuildQueue, storage: EmbeddedStorage): Handlers<typeof Execution> {
  return {
    execute: serverStreaming((request: ExecuteRequest, context) => execute(queue, storage, request, context)),

    waitExecution: serverStreaming(({ name }: WaitExecutionRequest, { signal }) => {
      const operation = queue.operation(name);
      if (!operation) {
        throw failure(Code.NOT_FOUND, `Operation with name ${JSON.stringify(name)} not found`);
      }
      return operation.follow(signal);
    }),
  };
}

async function* execute(
  queue: BuildQueue,
  storage: EmbeddedStorage,
  request: ExecuteRequest,
  { metadata, signal }: CallContext,
): AsyncGenerator<OperationMessage> {
  const actionDigest = digestFromWire(
    request.instanceName,
    request.digestFunction,
    request.actionDigest,
    "action_digest",
  );
  const action = fromBinary(ActionSchema, await readNeeded(storage, actionDigest, "action"));
  if (!request.skipCacheLookup && !action.doNotCache) {
    const result = await storage.actionCache.get(actionDigest);
    if (result) {
      const response = packAny(ExecuteResponseSchema, { result, cachedResult: true });
      yield operationMessage(randomUUID(), ExecutionStage_Value.COMPLETED, actionDigest, response);
      return;
    }
  }
  const operation = queue.execute({
    actionDigest,
    action,
    key: platformKey(request.instanceName, await platformOf(storage, actionDigest, action)),
    auxiliaryMetadata: auxiliaryMetadata(metadata),
    traceContext: traceContext(metadata),
  });
  yield* operation.follow(signal);
}

/** Before REAPI 2.2 the platform was in the Command only. */
async function platformOf(
  storage: EmbeddedStorage,
  actionDigest: Digest,
  action: Action,
): Promise<Platform | undefined> {
  if (action.platform) {
    return action.platform;
  }
  const commandDigest = relatedDigest(actionDigest, action.commandDigest, "command_digest");
  return fromBinary(CommandSchema, await readNeeded(storage, commandDigest, "command")).platform;
}

async function readNeeded(storage: EmbeddedStorage, digest: Digest, what: string): Promise<Uint8Array> {
  try {
    return await storage.blobs.read(digest);
  } catch (error) {
    if (!(error instanceof BlobError) || error.code !== Code.NOT_FOUND) {
      throw error;
    }
    throw new StatusError(
      missingBlobs(`Failed to obtain ${what}: blob ${digestKey(digest)} is not in the CAS`, [digest]),
      { cause: error },
    );
  }
}

function auxiliaryMetadata(metadata: Metadata): Any[] {
  return metadata.get(REQUEST_METADATA_HEADER).flatMap((value) => {
    try {
      return [packAny(RequestMetadataSchema, fromBinary(RequestMetadataSchema, value as Buffer))];
    } catch {
      // It only describes the request; what cannot be understood is left out.
      return [];
    }
  });
}

function traceContext(metadata: Metadata): { [header: string]: string } {
  const headers: { [header: string]: string } = {};
  for (const header of TRACE_CONTEXT_HEADERS) {
    const [value] = metadata.get(header);
    if (value !== undefined) {
      headers[header] = String(value);
    }
  }
  return headers;
}
