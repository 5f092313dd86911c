import type { Route } from "../../cas/blob-server.ts";
import type { Combination } from "../../cas/combined/combination.ts";
import type {
  BlobAccessConfiguration,
  ExistenceCachingBlobAccessConfiguration,
  LocalBlobAccessConfiguration,
  MirroredBlobAccessConfiguration,
  ReadCachingBlobAccessConfiguration,
  ReadCanaryingBlobAccessConfiguration,
  ReadFallbackBlobAccessConfiguration,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import { positiveMilliseconds } from "../duration.ts";
import { all, unsupported } from "../field-path.ts";
import { accept, refuse } from "../refuse.ts";
import { positive } from "../values.ts";
import { existenceCache } from "./existence-cache.ts";
import { localStoreSettings } from "./local.ts";
import type { Place } from "./place.ts";
import { copiesToBlobCache, replicationOf } from "./replicator.ts";

/** A worker asks an action cache for nothing. */
const ONLY_WRITTEN = "action results are only written, which goes elsewhere";

/** The route to a combination of other backends. */
function routeToCombination({ parts }: Place, combination: Combination): Route {
  parts.combinations.push(combination);
  const server = -parts.combinations.length;
  return (instanceName) => ({ server, instanceName });
}

function routeWithin(configuration: BlobAccessConfiguration | undefined, place: Place, field: string): Route {
  return place.routeTo(configuration, { ...place, path: place.path.field(field) });
}

/** With a `local` backend as the fast one, that is the process's blob cache, which all blobs go through. */
export function readCachingRoute(configuration: ReadCachingBlobAccessConfiguration, place: Place): Route {
  const { path, store, parts } = place;
  const { slow, ...rest } = configuration;
  const slowPlace = { ...place, path: path.field("slow") };
  if (store === "actionCache") {
    refuse(accept(rest, path, { fast: ONLY_WRITTEN, replicator: ONLY_WRITTEN }), path);
    return place.routeTo(slow, slowPlace);
  }
  const { fast, replicator, ...none } = rest;
  refuse(none, path);
  const fastPath = path.field("fast");
  // Of several, the outermost one is the process's cache.
  if (fast?.backend.case !== "local" || parts.blobCache !== undefined) {
    const made = all({
      slow: () => routeWithin(slow, place, "slow"),
      fast: () => routeWithin(fast, place, "fast"),
      replication: () => replicationOf(replicator, path.field("replicator")),
    });
    return routeToCombination(place, { kind: "readCaching", ...made });
  }
  const { backend, ...other } = fast;
  refuse(other, fastPath);
  const { route } = all({
    cache: () => {
      parts.blobCache = localStoreSettings(backend.value, fastPath.field("local"));
    },
    replicator: () => copiesToBlobCache(replicator, path.field("replicator")),
    route: () => place.routeTo(slow, slowPlace),
  });
  return route;
}

/** A store of its own on this machine, unlike the blob cache. */
export function localRoute(configuration: LocalBlobAccessConfiguration, place: Place): Route {
  if (place.store !== "contentAddressableStorage") {
    throw unsupported(place.path, "what a worker stores there is for others; reach storage by grpc");
  }
  return routeToCombination(place, { kind: "local", options: localStoreSettings(configuration, place.path) });
}

export function mirroredRoute(configuration: MirroredBlobAccessConfiguration, place: Place): Route {
  const { path } = place;
  const { backendA, backendB, replicatorAToB, replicatorBToA, ...rest } = configuration;
  refuse(rest, path);
  const made = all({
    a: () => routeWithin(backendA, place, "backendA"),
    b: () => routeWithin(backendB, place, "backendB"),
    aToB: () => replicationOf(replicatorAToB, path.field("replicatorAToB")),
    bToA: () => replicationOf(replicatorBToA, path.field("replicatorBToA")),
  });
  return routeToCombination(place, { kind: "mirrored", ...made });
}

export function readFallbackRoute(configuration: ReadFallbackBlobAccessConfiguration, place: Place): Route {
  const { path, store } = place;
  const { primary, ...rest } = configuration;
  if (store === "actionCache") {
    refuse(accept(rest, path, { secondary: ONLY_WRITTEN, replicator: ONLY_WRITTEN }), path);
    return place.routeTo(primary, { ...place, path: path.field("primary") });
  }
  const { secondary, replicator, ...none } = rest;
  refuse(none, path);
  const made = all({
    primary: () => routeWithin(primary, place, "primary"),
    secondary: () => routeWithin(secondary, place, "secondary"),
    replication: () => replicationOf(replicator, path.field("replicator")),
  });
  return routeToCombination(place, { kind: "readFallback", ...made });
}

export function readCanaryingRoute(configuration: ReadCanaryingBlobAccessConfiguration, place: Place): Route {
  const { path, store } = place;
  const { source, ...rest } = configuration;
  if (store === "actionCache") {
    const unused = {
      replica: ONLY_WRITTEN,
      maximumCacheSize: ONLY_WRITTEN,
      maximumCacheDuration: ONLY_WRITTEN,
    };
    refuse(accept(rest, path, unused), path);
    return place.routeTo(source, { ...place, path: path.field("source") });
  }
  const { replica, maximumCacheSize, maximumCacheDuration, ...none } = rest;
  refuse(none, path);
  const backends = all({
    source: () => routeWithin(source, place, "source"),
    replica: () => routeWithin(replica, place, "replica"),
    options: () =>
      all({
        maximumCount: () => positive(BigInt(maximumCacheSize), path.field("maximumCacheSize")),
        durationMilliseconds: () =>
          positiveMilliseconds(maximumCacheDuration, path.field("maximumCacheDuration")),
      }),
  });
  return routeToCombination(place, { kind: "readCanarying", ...backends });
}

export function existenceCachingRoute(
  configuration: ExistenceCachingBlobAccessConfiguration,
  place: Place,
): Route {
  const { path, store } = place;
  const { backend, existenceCache: cache, ...rest } = configuration;
  refuse(rest, path);
  if (store === "actionCache") {
    throw unsupported(path, "an action cache is never asked what it lacks; give the backend by itself");
  }
  const made = all({
    base: () => routeWithin(backend, place, "backend"),
    cache: () => existenceCache(cache, path.field("existenceCache")),
  });
  return routeToCombination(place, { kind: "existenceCaching", ...made });
}
