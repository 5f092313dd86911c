import type { ExistenceCacheOptions } from "../../cas/combined/existence-caching.ts";
import type { ExistenceCacheConfiguration } from "../../proto/gen/buildbarn/configuration/digest/digest_pb.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { leastRecentlyUsed } from "../eviction.ts";
import { all, type FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { positive } from "../values.ts";

export function existenceCache(
  configuration: ExistenceCacheConfiguration | undefined,
  path: FieldPath,
): ExistenceCacheOptions {
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: give cacheSize and cacheDuration`);
  }
  const { cacheSize, cacheDuration, cacheReplacementPolicy, ...rest } = configuration;
  refuse(rest, path);
  leastRecentlyUsed(cacheReplacementPolicy, path.field("cacheReplacementPolicy"));
  return all({
    maximumCount: () => positive(cacheSize, path.field("cacheSize")),
    durationMilliseconds: () => positiveMilliseconds(cacheDuration, path.field("cacheDuration")),
  });
}
