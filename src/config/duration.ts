import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { ConfigurationError } from "./error.ts";

/** A duration in milliseconds; `fallback` where it is absent. Throws {@link ConfigurationError} if negative. */
export function durationMilliseconds<Fallback extends number | undefined>(
  duration: Duration | undefined,
  path: string,
  fallback: Fallback,
): number | Fallback {
  if (duration === undefined) {
    return fallback;
  }
  const milliseconds = durationMs(duration);
  if (milliseconds < 0) {
    throw new ConfigurationError(`${path} is negative`);
  }
  return milliseconds;
}
