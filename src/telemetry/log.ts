/** The values that go with a log line; an Error is written as its message. */
export type LogFields = Readonly<Record<string, unknown>>;

export type LogLevel = "debug" | "info" | "warn" | "error";

/** "text": lines `TIME LEVEL MESSAGE name=value…`, with values that need quotes as JSON. "json": an object a line. */
export type LogFormat = "text" | "json";

/** A program's log: a line a message. */
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
  format: LogFormat = "text",
  common: LogFields = {},
): Log {
  const line = format === "json" ? jsonLine : textLine;
  const at =
    (lineLevel: LogLevel) =>
    (message: string, fields: LogFields = {}) => {
      if (SEVERITIES[lineLevel] >= SEVERITIES[level]) {
        write(`${line(new Date().toISOString(), lineLevel, message, { ...common, ...fields })}\n`);
      }
    };
  return {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    with: (fields) => createLog(level, write, format, { ...common, ...fields }),
  };
}

function jsonLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  return json({ time, level, message, ...fields });
}

function textLine(time: string, level: LogLevel, message: string, fields: LogFields): string {
  let line = `${time} ${level} ${text(message, /\p{C}/u)}`;
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined) {
      line += ` ${name}=${text(value, /[\s"=]|\p{C}|^$/u)}`;
    }
  }
  return line;
}

/** On one line whatever it contains, since what others send must not pass for lines of ours. */
function text(value: unknown, needsQuotes: RegExp): string {
  if (typeof value === "string") {
    return needsQuotes.test(value) ? json(value) : value;
  }
  return typeof value === "bigint" ? `${value}` : json(value);
}

/** As JSON, with what could change how the rest looks as escapes. */
function json(value: unknown): string {
  const written = JSON.stringify(value, (_, part: unknown) => {
    if (part instanceof Error) {
      return part.message;
    }
    return typeof part === "bigint" ? String(part) : part;
  });
  return (written ?? String(value)).replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (character) =>
    character
      .split("")
      .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
      .join(""),
  );
}
