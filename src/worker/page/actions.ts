import { duration, shortened } from "../../telemetry/page/format.ts";
import { type Html, html } from "../../telemetry/page/html.ts";
import { bar, type Segment } from "../../telemetry/page/parts.ts";
import type { ActionProgress, ActionTimes } from "../telemetry/action-progress.ts";

const LEGEND: readonly (readonly [kind: Segment["kind"], words: string])[] = [
  ["queued", "queue"],
  ["input", "input"],
  ["run", "run"],
  ["storage", "of which waiting for storage"],
  ["upload", "upload"],
];

/** What identifies an action to people. All of it but the digest is the client's to choose. */
export function actionName({ actionHash, instanceName, target, mnemonic, worker }: ActionProgress): Html {
  const what = [mnemonic, target].filter((part) => part !== "").join(" ");
  return html`<code title="${actionHash}">${shortened(actionHash, 13)}</code>${
    what !== "" && html`<small>${shortened(what, 120)}</small>`
  }${instanceName !== "" && html`<small>instance ${shortened(instanceName, 60)}</small>`}<small>${shortened(
    worker,
    80,
  )}</small>`;
}

export function timeBar({ queued, input, run, storage, upload }: ActionTimes): Html {
  return bar(
    [
      { kind: "queued", value: queued },
      { kind: "input", value: input },
      { kind: "run", value: run, within: [{ kind: "storage", value: storage }] },
      { kind: "upload", value: upload },
    ],
    `queue ${duration(queued)}, input ${duration(input)}, run ${duration(run)}, ` +
      `of which waiting for storage ${duration(storage)}, upload ${duration(upload)}`,
  );
}

export function timeLegend(): Html {
  return html`<div class="legend">${LEGEND.map(
    ([kind, words]) =>
      html`<span><svg viewBox="0 0 1 1" aria-hidden="true"><rect class="${kind}" width="1" height="1"/></svg>${words}</span>`,
  )}</div>`;
}
