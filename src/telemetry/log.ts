/** The values that go with a log line; an Error is written as its message. */
export type LogFields = Readonly<Record<string, unknown>>;

export type LogLevel = "debug" | "info" | "warn" | "error";

/** A program's log: lines `TIME LEVEL MESSAGE name=value…`, with values that need quotes as JSON. */
export interface Log {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A log that adds these fields to every line. */
  with(fields: LogFields): Log;
}

const SEVERITIES: Record<LogLevel, number> = { debug: 0, info: 1, warn: 2, error: 3 };

/** A log of lines at or above the given level; by default on standard error. */
export function createLog(
  level: LogLevel = "info",
  write: (line: string) => void = (line) => process.stderr.write(line),
  common: LogFields = {},
): Log {
  const at =
    (lineLevel: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (SEVERITIES[lineLevel] < SEVERITIES[level]) {
        return;
      }
      let line = `${new Date().toISOString()} ${lineLevel} ${text(message, /\p{C}/u)}`;
      for (const [name, value] of Object.entries({ ...common, ...fields })) {
        if (value !== undefined) {
          line += ` ${name}=${text(value, /[\s"=]|\p{C}|^$/u)}`;
        }
      }
      write(`${line}\n`);
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => createLog(level, write, { ...common, ...fields }),
  };
}

/** On one line whatever it contains, since what others send must not pass for lines of ours. */
function text(value: unknown, needsQuotes: RegExp): string {
  if (value instanceof Error) {
    return JSON.stringify(value.message);
  }
  if (typeof value === "bigint") {
    return `${value}`;
  }
  const plain = typeof value === "string" ? value : (JSON.stringify(value) ?? String(value));
  return typeof value === "string" && needsQuotes.test(plain) ? JSON.stringify(plain) : plain;
}
