import { create, toBinary } from "@bufbuild/protobuf";
import type { ExecuteResponse } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { HistoricalExecuteResponseSchema } from "../../proto/gen/buildbarn/cas/cas_pb.ts";
import { computeDigest, type Digest } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { ActionBlobAccess } from "./action-blob-access.ts";
import type { ActionRequest } from "./action-request.ts";
import { attachError, isFailed } from "./execution-status.ts";

export interface ResultRecordingOptions {
  readonly blobAccess: Pick<ActionBlobAccess, "updateActionResult" | "uploadNew">;
  /** bb_browser's; "" if there is none. */
  readonly browserUrl: string;
}

/**
 * A success goes into the action cache. Any other result goes into the CAS, where bb_browser finds it. As in Buildbarn,
 * an action whose result cannot be recorded has failed: others would wait for it in vain.
 */
export async function recordResult(
  action: ActionRequest,
  response: ExecuteResponse,
  signal: AbortSignal,
  { blobAccess, browserUrl }: ResultRecordingOptions,
): Promise<void> {
  const { actionDigest } = action;
  try {
    if (!action.doNotCache && !isFailed(response) && response.result!.exitCode === 0) {
      await blobAccess.updateActionResult(actionDigest, response.result!, signal);
      response.message = detailsMessage(browserUrl, "cached", "action", actionDigest);
    } else {
      const bytes = toBinary(
        HistoricalExecuteResponseSchema,
        create(HistoricalExecuteResponseSchema, {
          actionDigest: digestMessage(actionDigest),
          executeResponse: response,
        }),
      );
      const digest = computeDigest(actionDigest.instanceName, actionDigest.function, bytes);
      await blobAccess.uploadNew(digest, bytes, signal);
      response.message = detailsMessage(browserUrl, "uncached", "historical_execute_response", digest);
    }
  } catch (error) {
    attachError(response, error, "record the result");
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
