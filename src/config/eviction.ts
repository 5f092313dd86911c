import { CacheReplacementPolicy } from "../proto/gen/buildbarn/configuration/eviction/eviction_pb.ts";
import type { FieldPath } from "./field-path.ts";

/** All caches here evict what was used least recently, whatever else is asked for. */
export function leastRecentlyUsed(policy: CacheReplacementPolicy, path: FieldPath): void {
  if (policy !== CacheReplacementPolicy.UNKNOWN && policy !== CacheReplacementPolicy.LEAST_RECENTLY_USED) {
    path.otherwise("what was used least recently is evicted");
  }
}
