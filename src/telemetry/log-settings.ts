import type { LogFormat, LogLevel } from "./log.ts";

/** What the environment says of a program's log. */
export interface LogSettings {
  readonly level: LogLevel;
  readonly format: LogFormat;
}

const LEVELS: readonly LogLevel[] = ["debug", "info", "warn", "error"];
const FORMATS: readonly LogFormat[] = ["text", "json"];

/** For a program's `--help`. */
export const LOG_ENVIRONMENT = `  BB_LOG_LEVEL             debug, info (default), warn or error: what is less is not logged
  BB_LOG_FORMAT            text (default) or json: an object a line, with time, level, message and the line's fields
`;

/** Throws an Error that names a variable which has none of its values. */
export function logSettings({ BB_LOG_LEVEL, BB_LOG_FORMAT }: NodeJS.ProcessEnv): LogSettings {
  return {
    level: oneOf("BB_LOG_LEVEL", LEVELS, BB_LOG_LEVEL || "info"),
    format: oneOf("BB_LOG_FORMAT", FORMATS, BB_LOG_FORMAT || "text"),
  };
}

function oneOf<Value extends string>(name: string, values: readonly Value[], given: string): Value {
  const value = values.find((each) => each === given);
  if (value === undefined) {
    throw new Error(`${name} is ${JSON.stringify(given)}: give one of ${values.join(", ")}`);
  }
  return value;
}
