import {
  CacheReplacementPolicy,
  CacheReplacementPolicySchema,
} from "../proto/gen/buildbarn/configuration/eviction/eviction_pb.ts";
import { unsupported } from "./refuse.ts";

/** Checks that a cache may evict what was used least recently, as all caches here do. */
export function leastRecentlyUsed(policy: CacheReplacementPolicy, path: string): void {
  if (policy !== CacheReplacementPolicy.UNKNOWN && policy !== CacheReplacementPolicy.LEAST_RECENTLY_USED) {
    const { name } = CacheReplacementPolicySchema.value[policy] ?? { name: policy };
    throw unsupported(`${path} ${name}`, "give LEAST_RECENTLY_USED, or leave it out");
  }
}
