import { GO_CODES } from "../../grpc/calls/metrics.ts";
import { bytes, duration, shortened } from "../../telemetry/page/format.ts";
import { type Html, html } from "../../telemetry/page/html.ts";
import { table } from "../../telemetry/page/parts.ts";
import type { ActionProgress } from "../telemetry/action-progress.ts";
import { actionName, timeBar, timeLegend } from "./actions.ts";

/** What ended last, and where its time went. */
export function endedActionsContent(actions: readonly ActionProgress[]): Html {
  const time = (heading: string, of: keyof ActionProgress["times"]) => ({
    heading,
    isNumber: true,
    cell: ({ times }: ActionProgress) => duration(times[of]),
  });
  return html`${actions.length > 0 && timeLegend()}${table(
    "Actions that ended lately, the last one first",
    [
      { heading: "Action", cell: actionName },
      {
        heading: "Ended",
        cell: ({ endedAt }) => html`<time>${new Date(endedAt).toISOString().slice(11, 19)}</time>`,
      },
      { heading: "Result", cell: resultOf },
      time("Queue", "queued"),
      time("Input", "input"),
      time("Run", "run"),
      time("Storage", "storage"),
      time("Upload", "upload"),
      {
        heading: "Read, sent",
        isNumber: true,
        cell: ({ inputUsage, uploadedBytes }) =>
          html`${inputUsage && `${bytes(inputUsage.bytesFound)}, `}${bytes(uploadedBytes)}`,
      },
      { heading: "Time", cell: ({ times }) => timeBar(times) },
    ],
    actions,
    "No action has ended yet.",
  )}`;
}

function resultOf({ outcome }: ActionProgress): Html {
  const { exitCode, code, message } = outcome!;
  if (code !== 0) {
    return html`<span class="ill">&cross; ${GO_CODES[code] ?? code}</span><small>${shortened(message, 200)}</small>`;
  }
  return exitCode === 0
    ? html`<span class="well">&check; success</span>`
    : html`<span class="ill">&cross; exit code ${exitCode}</span>`;
}
