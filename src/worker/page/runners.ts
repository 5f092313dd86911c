import { count } from "../../telemetry/page/format.ts";
import type { Html } from "../../telemetry/page/html.ts";
import { health, table } from "../../telemetry/page/parts.ts";
import type { WatchedRunner } from "../telemetry/worker-watch.ts";

/** The runners, and whether they get work. */
export function runnersContent(runners: readonly WatchedRunner[]): Html {
  return table(
    "Runners",
    [
      { heading: "Address", cell: ({ address }) => address },
      { heading: "Actions at once", isNumber: true, cell: ({ concurrency }) => count(concurrency) },
      { heading: "Connection", cell: (runner) => runner.connection().toLowerCase() },
      { heading: "State", cell: (runner) => health(runner.problem(), "gets work") },
    ],
    runners,
    "There are none.",
  );
}
