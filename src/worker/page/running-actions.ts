import type { Digest } from "../../reapi/digest.ts";
import { bytes, count, duration, shortened } from "../../telemetry/page/format.ts";
import { type Html, type HtmlValue, html } from "../../telemetry/page/html.ts";
import { table } from "../../telemetry/page/parts.ts";
import type { ActionProgress, ActionWait, RunningStage } from "../telemetry/action-progress.ts";
import { actionName, timeBar, timeLegend } from "./actions.ts";

/** Of what an action waits for, so many are shown. */
const SHOWN_WAITS = 5;

const STAGES: Readonly<Record<RunningStage, string>> = {
  preparing: "preparing",
  fetchingInputs: "input",
  running: "run",
  uploadingOutputs: "upload",
};

/** The actions that run, and what each does right now. */
export function runningActionsContent(
  actions: readonly ActionProgress[],
  slots: number,
  origin: (digest: Digest) => string,
): Html {
  const now = performance.now();
  return html`<p>${count(actions.length)} of ${count(slots)} slots are in use.</p>${actions.length > 0 && timeLegend()}${table(
    "Running actions",
    [
      { heading: "Action", cell: actionName },
      { heading: "Stage", cell: ({ stage }) => STAGES[stage] },
      { heading: "Age", isNumber: true, cell: ({ orderedAt }) => duration(now - orderedAt) },
      { heading: "Waits for", cell: (action) => waitsOf(action, now, origin) },
      { heading: "Input root, touched of what it entered", cell: touched },
      { heading: "Time so far", cell: ({ times }) => timeBar(times) },
    ],
    actions,
    "No action runs.",
  )}`;
}

function waitsOf(
  { waits, stage }: ActionProgress,
  now: number,
  origin: (digest: Digest) => string,
): HtmlValue {
  if (waits.size === 0) {
    return stage === "running" ? "its command, at the runner" : "the worker";
  }
  const shown = [...waits].slice(0, SHOWN_WAITS);
  const rest = waits.size - shown.length;
  return html`<ul>${shown.map(
    (wait) => html`<li>${waitOf(wait, origin)}, for ${duration(now - wait.since)}</li>`,
  )}${rest > 0 && html`<li>and ${count(rest)} more</li>`}</ul>`;
}

function waitOf({ kind, digest, path }: ActionWait, origin: (digest: Digest) => string): Html {
  const blob = digest && html`<code>${shortened(digest.hash, 13)}</code> (${bytes(digest.sizeBytes)})`;
  switch (kind) {
    case "fetch":
      return digest ? html`blob ${blob} from ${originOf(digest, origin)}` : html`blobs`;
    case "upload":
      return path === undefined ? html`upload of ${blob}` : html`upload of ${shortened(path, 80)}`;
    case "record":
      return html`the action cache`;
  }
}

/** A blob may have come to nowhere: its instance name may have no storage. */
function originOf(digest: Digest, origin: (digest: Digest) => string): string {
  try {
    return origin(digest);
  } catch (error) {
    return (error as Error).message;
  }
}

function touched({ inputUsage: usage }: ActionProgress): HtmlValue {
  return (
    usage && [
      html`${count(usage.filesFound)} of ${count(usage.filesEntered)} files in ${count(usage.directoriesEntered)} directories`,
      html`<small>${bytes(usage.bytesFound)} of ${bytes(usage.bytesEntered)}</small>`,
    ]
  );
}
