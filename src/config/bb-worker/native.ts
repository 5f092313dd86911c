import type { NativeBuildDirectoryConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { CacheReplacementPolicy } from "../../proto/gen/buildbarn/configuration/eviction/eviction_pb.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { atLeastZero, pathOf } from "../values.ts";

export interface NativeSettings {
  /** May be relative, as the next one. */
  readonly buildDirectoryPath: string;
  readonly cacheDirectoryPath: string;
  readonly maximumCacheFileCount: number;
  readonly maximumCacheSizeBytes: number;
  readonly cacheReplacementPolicy: "firstInFirstOut" | "leastRecentlyUsed" | "randomReplacement";
}

export function nativeSettings(
  configuration: NativeBuildDirectoryConfiguration,
  path: FieldPath,
): NativeSettings {
  const {
    buildDirectoryPath,
    cacheDirectoryPath,
    maximumCacheFileCount,
    maximumCacheSizeBytes,
    cacheReplacementPolicy,
    ...rest
  } = configuration;
  refuse(rest, path);
  return all({
    buildDirectoryPath: () => pathOf(buildDirectoryPath, path.field("buildDirectoryPath")),
    cacheDirectoryPath: () => pathOf(cacheDirectoryPath, path.field("cacheDirectoryPath")),
    maximumCacheFileCount: () => atLeastZero(maximumCacheFileCount, path.field("maximumCacheFileCount")),
    maximumCacheSizeBytes: () => atLeastZero(maximumCacheSizeBytes, path.field("maximumCacheSizeBytes")),
    cacheReplacementPolicy: () =>
      replacementPolicy(cacheReplacementPolicy, path.field("cacheReplacementPolicy")),
  });
}

function replacementPolicy(
  policy: CacheReplacementPolicy,
  path: FieldPath,
): NativeSettings["cacheReplacementPolicy"] {
  switch (policy) {
    case CacheReplacementPolicy.FIRST_IN_FIRST_OUT:
      return "firstInFirstOut";
    case CacheReplacementPolicy.LEAST_RECENTLY_USED:
      return "leastRecentlyUsed";
    case CacheReplacementPolicy.RANDOM_REPLACEMENT:
      return "randomReplacement";
    default:
      throw new ConfigurationError(
        `${path} is missing: give "LEAST_RECENTLY_USED", "FIRST_IN_FIRST_OUT" or "RANDOM_REPLACEMENT"`,
      );
  }
}
