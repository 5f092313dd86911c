import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import type {
  DigestFunction_Value,
  ExecuteResponse,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type CompletedAction,
  CompletedActionSchema,
} from "../../proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import type { DesiredState_Executing } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { digestFunctionFor, InvalidDigestError } from "../../reapi/digest.ts";
import { joinInstanceNames } from "../../reapi/resource-name.ts";
import { instanceNameOf } from "../action/action-request.ts";
import type { Execute } from "../scheduler/build-client.ts";
import type { CompletedActionLogger } from "./completed-action-logger.ts";

/** A logger, and what it puts before the instance names of actions. */
export interface CompletedActionLogging {
  readonly logger: Pick<CompletedActionLogger, "logCompletedAction">;
  readonly addInstanceNamePrefix: string;
}

/**
 * Has every action that `execute` runs logged with its response as the scheduler gets it, whether or not the action
 * succeeded.
 *
 * @param instanceNamePrefix The worker's own, to which the scheduler's orders are relative.
 */
export function logCompletedActions(
  execute: Execute,
  loggings: readonly CompletedActionLogging[],
  instanceNamePrefix: string,
): Execute {
  return async (request, context) => {
    const response = await execute(request, context);
    const instanceName = instanceNameOf(request, instanceNamePrefix);
    for (const { logger, addInstanceNamePrefix } of loggings) {
      logger.logCompletedAction(
        completedAction(request, response, joinInstanceNames(addInstanceNamePrefix, instanceName)),
      );
    }
    return response;
  };
}

function completedAction(
  request: DesiredState_Executing,
  response: ExecuteResponse,
  instanceName: string,
): CompletedAction {
  const { actionDigest } = request;
  return create(CompletedActionSchema, {
    historicalExecuteResponse: { ...(actionDigest && { actionDigest }), executeResponse: response },
    uuid: randomUUID(),
    instanceName,
    digestFunction: digestFunctionOf(request),
  });
}

/** What the order says where that is no function we have: the action has then failed, and this says why. */
function digestFunctionOf({ digestFunction, actionDigest }: DesiredState_Executing): DigestFunction_Value {
  try {
    return digestFunctionFor(digestFunction, actionDigest?.hash ?? "").value;
  } catch (error) {
    if (error instanceof InvalidDigestError) {
      return digestFunction;
    }
    throw error;
  }
}
