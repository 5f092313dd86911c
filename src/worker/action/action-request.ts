import { durationMs } from "@bufbuild/protobuf/wkt";
import { StatusError, status } from "../../grpc/status.ts";
import type {
  Action,
  Digest as DigestMessage,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { DesiredState_Executing } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { type Digest, digestFunctionFor, makeDigest } from "../../reapi/digest.ts";
import { joinInstanceNames } from "../../reapi/resource-name.ts";

/** A scheduler's order to run an action, validated. */
export interface ActionRequest {
  readonly actionDigest: Digest;
  readonly commandDigest: Digest;
  readonly inputRootDigest: Digest;
  /** Milliseconds. */
  readonly timeout: number;
  readonly doNotCache: boolean;
}

/** Throws StatusError INVALID_ARGUMENT, or InvalidDigestError, for an order that cannot be carried out. */
export function parseActionRequest(
  request: DesiredState_Executing,
  instanceNamePrefix: string,
): ActionRequest {
  const action = required(request.action, "an action");
  const instanceName = instanceNameOf(request, instanceNamePrefix);
  const digestOf = (message: DigestMessage | undefined, what: string): Digest => {
    const { hash, sizeBytes } = required(message, what);
    return makeDigest(instanceName, digestFunctionFor(request.digestFunction, hash), hash, sizeBytes);
  };
  return {
    actionDigest: digestOf(request.actionDigest, "an action digest"),
    commandDigest: digestOf(action.commandDigest, "a command digest"),
    inputRootDigest: digestOf(action.inputRootDigest, "an input root digest"),
    timeout: timeoutOf(action),
    doNotCache: action.doNotCache,
  };
}

/** Where the action's blobs are: the scheduler knows the worker by a prefix of that. */
export function instanceNameOf(
  { instanceNameSuffix }: DesiredState_Executing,
  instanceNamePrefix: string,
): string {
  return joinInstanceNames(instanceNamePrefix, instanceNameSuffix);
}

/** The scheduler gives every action a timeout, whether or not the client did. */
function timeoutOf(action: Action): number {
  const milliseconds = durationMs(required(action.timeout, "a timeout"));
  if (!(milliseconds >= 0)) {
    throw invalid(`a timeout of ${milliseconds} ms`);
  }
  return milliseconds;
}

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) {
    throw invalid(`no ${what.replace(/^an? /, "")}`);
  }
  return value;
}

function invalid(what: string): StatusError {
  return new StatusError(status(Code.INVALID_ARGUMENT, `the scheduler's order has ${what}`));
}
