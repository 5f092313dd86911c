import type { BbRunnerSettings } from "../../config/bb-runner/application.ts";
import { bytes, count, duration, shortened } from "../../telemetry/page/format.ts";
import { type Html, html } from "../../telemetry/page/html.ts";
import { bar, facts, table } from "../../telemetry/page/parts.ts";
import type { StatusPage } from "../../telemetry/page/status-page.ts";
import type { Hold } from "../spawn/command.ts";
import type { Commands, EndedCommand, WatchedCommand } from "./commands.ts";

/** What bb_runner shows of itself. */
export function runnerPage(
  commands: Commands,
  { buildDirectoryPath, confinement, chrootIntoInputRoot }: BbRunnerSettings,
  { isolated, ownNetwork }: Hold,
  hasCgroups: boolean,
): StatusPage {
  const limit = (value: number | bigint | undefined, of: (value: number) => string) =>
    hasCgroups ? (value === undefined ? "none" : of(Number(value))) : "none, as there is no cgroup";
  return {
    program: "bb_runner",
    sections: [
      { id: "running", title: "Running commands", content: () => runningContent([...commands.running]) },
      { id: "ended", title: "Ended lately", content: () => endedContent(commands.ended) },
      {
        id: "bounds",
        title: "Where commands run",
        content: () =>
          facts([
            ["Build directory", buildDirectoryPath],
            ["Root directory", chrootIntoInputRoot ? "the input root" : "the runner's"],
            ["Namespaces of their own", isolated ? "yes" : "no"],
            ["Network", isolated && ownNetwork ? "none" : "the runner's"],
            ["Processes of a command", limit(confinement.maximumProcesses, count)],
            ["Memory of a command", limit(confinement.maximumMemoryBytes, bytes)],
          ]),
      },
    ],
  };
}

function nameOf({ arguments: words, inputRoot }: WatchedCommand): Html {
  return html`<code>${shortened(words.join(" "), 160)}</code><small>${shortened(inputRoot, 60)}</small>`;
}

function runningContent(commands: readonly WatchedCommand[]): Html {
  const now = performance.now();
  return table(
    "Running commands",
    [
      { heading: "Command", cell: nameOf },
      { heading: "Age", isNumber: true, cell: ({ startedAt }) => duration(now - startedAt) },
    ],
    commands,
    "No command runs.",
  );
}

function endedContent(commands: readonly EndedCommand[]): Html {
  return table(
    "Commands that ended lately, the last one first",
    [
      { heading: "Command", cell: nameOf },
      {
        heading: "Ended",
        cell: ({ endedAt }) => html`<time>${new Date(endedAt).toISOString().slice(11, 19)}</time>`,
      },
      { heading: "Result", cell: resultOf },
      { heading: "Took", isNumber: true, cell: ({ milliseconds }) => duration(milliseconds) },
      {
        heading: "CPU, user and system",
        isNumber: true,
        cell: ({ usage }) =>
          usage && `${duration(usage.userMilliseconds)}, ${duration(usage.systemMilliseconds)}`,
      },
      { heading: "Memory", isNumber: true, cell: ({ usage }) => usage && bytes(usage.residentBytes) },
      { heading: "CPU of its time", cell: cpuBar },
    ],
    commands,
    "No command has ended yet.",
  );
}

function resultOf({ exitCode, problem, usage }: EndedCommand): Html {
  if (exitCode === undefined) {
    return html`<span class="ill">&cross; not run</span><small>${shortened(problem, 200)}</small>`;
  }
  if (exitCode === 0) {
    return html`<span class="well">&check; success</span>`;
  }
  return html`<span class="ill">&cross; ${usage?.signal ? `ended by SIG${usage.signal}` : `exit code ${exitCode}`}</span>`;
}

/** CPU time in the colours of run and input, what is left in that of waiting. */
function cpuBar({ milliseconds, usage }: EndedCommand): Html | undefined {
  if (usage === undefined) {
    return undefined;
  }
  const { userMilliseconds, systemMilliseconds } = usage;
  const rest = Math.max(0, milliseconds - userMilliseconds - systemMilliseconds);
  return bar(
    [
      { kind: "run", value: userMilliseconds },
      { kind: "input", value: systemMilliseconds },
      { kind: "queued", value: rest },
    ],
    `user ${duration(userMilliseconds)}, system ${duration(systemMilliseconds)}, neither ${duration(rest)}`,
  );
}
