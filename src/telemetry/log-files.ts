import { openSync, writeSync } from "node:fs";
import { createLog, type Log } from "./log.ts";
import type { LogSettings } from "./log-settings.ts";

/**
 * A log that is written to standard error and appended to files. Throws an Error that names one it cannot open.
 *
 * Lines that cannot be written are lost: neither a full disk nor a closed standard error must stop the work that is
 * logged.
 */
export function logToFiles(paths: readonly string[], { level, format }: LogSettings): Log {
  const files = paths.map((path) => openSync(path, "a", 0o666));
  process.stderr.on("error", () => {});
  return createLog(
    level,
    (line) => {
      process.stderr.write(line);
      for (const file of files) {
        try {
          writeSync(file, line);
        } catch {
          // There is nowhere left to say so.
        }
      }
    },
    format,
  );
}
