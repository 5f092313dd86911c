import { create, toBinary } from "@bufbuild/protobuf";
import type { ExecuteResponse } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { HistoricalExecuteResponseSchema } from "../../proto/gen/buildbarn/cas/cas_pb.ts";
import { computeDigest, type Digest } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ActionBlobAccess } from "./action-blob-access.ts";
import type { ActionRequest } from "./action-request.ts";
import { isFailed } from "./execution-status.ts";

export interface ResultRecordingOptions {
  readonly blobAccess: Pick<ActionBlobAccess, "outputUploader" | "updateActionResult">;
  /** bb_browser's; "" if there is none. */
  readonly browserUrl: string;
  readonly log: Log;
}

/**
 * A success goes into the action cache; other results go into the CAS if there is a bb_browser to show them. A result
 * that cannot be recorded still counts.
 */
export async function recordResult(
  action: ActionRequest,
  response: ExecuteResponse,
  signal: AbortSignal,
  { blobAccess, browserUrl, log }: ResultRecordingOptions,
): Promise<void> {
  const { actionDigest } = action;
  try {
    if (!action.doNotCache && !isFailed(response) && response.result!.exitCode === 0) {
      await blobAccess.updateActionResult(actionDigest, response.result!, signal);
      response.message = detailsMessage(browserUrl, "cached", "action", actionDigest);
    } else if (browserUrl !== "") {
      const bytes = toBinary(
        HistoricalExecuteResponseSchema,
        create(HistoricalExecuteResponseSchema, {
          actionDigest: digestMessage(actionDigest),
          executeResponse: response,
        }),
      );
      const digest = computeDigest(actionDigest.instanceName, actionDigest.function, bytes);
      await blobAccess.outputUploader(actionDigest, signal).uploadBytes(digest, bytes);
      response.message = detailsMessage(browserUrl, "uncached", "historical_execute_response", digest);
    }
  } catch (error) {
    log.warn("cannot record the action's result", { action: actionDigest.hash, error });
  }
}

/** A link to bb_browser's page for the result; "" without a bb_browser. */
function detailsMessage(browserUrl: string, what: string, objectType: string, digest: Digest): string {
  if (browserUrl === "") {
    return "";
  }
  const { instanceName, function: digestFunction, hash, sizeBytes } = digest;
  const path = [instanceName, "blobs", digestFunction.name, objectType, `${hash}-${sizeBytes}`, ""];
  const url = `${browserUrl.replace(/\/$/, "")}/${path.filter((part, index) => part !== "" || index > 0).join("/")}`;
  return `Action details (${what} result): ${url}`;
}
