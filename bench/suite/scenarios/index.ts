import type { Scenario } from "../scenario.ts";
import { build } from "./build.ts";
import { metadata } from "./metadata.ts";
import { start } from "./start.ts";
import { stream } from "./stream.ts";
import { touch } from "./touch.ts";
import { worker } from "./worker.ts";

/** In the order in which they run. Each reads its own plan only. */
export const SCENARIOS = [start, touch, build, metadata, stream, worker] as readonly Scenario<unknown>[];
