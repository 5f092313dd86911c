import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { ConfigurationError } from "./error.ts";
import type { FieldPath } from "./field-path.ts";

/** A duration in milliseconds; `fallback` where it is absent. Throws {@link ConfigurationError} if negative. */
export function durationMilliseconds(
  duration: Duration | undefined,
  path: FieldPath,
  fallback: number,
): number {
  if (duration === undefined) {
    return fallback;
  }
  const milliseconds = durationMs(duration);
  if (milliseconds < 0) {
    throw new ConfigurationError(`${path} is negative: give a duration such as "60s"`);
  }
  return milliseconds;
}

/** A duration in milliseconds. Throws {@link ConfigurationError} where it is absent, zero or negative. */
export function positiveMilliseconds(duration: Duration | undefined, path: FieldPath): number {
  const milliseconds = durationMilliseconds(duration, path, 0);
  if (milliseconds === 0) {
    throw new ConfigurationError(
      `${path} is ${duration === undefined ? "missing" : "zero"}: give a duration such as "60s"`,
    );
  }
  return milliseconds;
}
