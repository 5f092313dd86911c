import { GO_CODES } from "../../grpc/calls/metrics.ts";
import type { Log } from "../../telemetry/log.ts";
import type { ActionProgress } from "./action-progress.ts";

/** The one line that the log has of an action: where its time went, how it ended, and how many bytes that took. */
export function logEnded(log: Log, action: ActionProgress): void {
  const { queued, input, run, storage, upload } = action.times;
  const { exitCode, code, message } = action.outcome!;
  const usage = action.inputUsage;
  log.info("an action has ended", {
    action: action.actionHash,
    instanceName: action.instanceName || undefined,
    exitCode,
    status: GO_CODES[code] ?? code,
    error: message || undefined,
    queuedMilliseconds: Math.round(queued),
    inputMilliseconds: tenths(input),
    runMilliseconds: tenths(run),
    storageMilliseconds: tenths(storage),
    uploadMilliseconds: tenths(upload),
    inputBytesFound: usage?.bytesFound,
    uploadedBytes: action.uploadedBytes,
  });
}

function tenths(milliseconds: number): number {
  return Math.round(milliseconds * 10) / 10;
}
