import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { Route } from "../blob-server.ts";
import type { Identity } from "../local/layout.ts";
import type { LocalStore } from "../local/local-store.ts";
import type { LocalStoreOptions } from "../local/options.ts";
import type { BlobAccess } from "./blob-access.ts";
import { ExistenceCache, type ExistenceCacheOptions, ExistenceCaching } from "./existence-caching.ts";
import { LocalBackend } from "./local-backend.ts";
import { Mirrored } from "./mirrored.ts";
import { ReadCanarying, type ReadCanaryingOptions } from "./read-canarying.ts";
import { ReadCaching, ReadFallback } from "./read-fallback.ts";
import {
  ConcurrencyLimitingReplicator,
  DeduplicatingReplicator,
  LocalReplicator,
  NO_REPLICATION,
  QueuedReplicator,
  RemoteReplicator,
  type Replicator,
} from "./replicator.ts";
import { Routed } from "./routed.ts";

/** Several backends that are used as one, under Buildbarn's name for it. Each is named by the route to it. */
export type Combination =
  | {
      readonly kind: "mirrored";
      readonly a: Route;
      readonly b: Route;
      readonly aToB: Replication;
      readonly bToA: Replication;
    }
  | {
      readonly kind: "readFallback";
      readonly primary: Route;
      readonly secondary: Route;
      readonly replication: Replication;
    }
  | {
      readonly kind: "readCaching";
      readonly slow: Route;
      readonly fast: Route;
      readonly replication: Replication;
    }
  | {
      readonly kind: "readCanarying";
      readonly source: Route;
      readonly replica: Route;
      readonly options: ReadCanaryingOptions;
    }
  | { readonly kind: "existenceCaching"; readonly base: Route; readonly cache: ExistenceCacheOptions }
  /** No others, but blocks of this machine. */
  | { readonly kind: "local"; readonly options: LocalStoreOptions };

/** How blobs get from one backend to another. */
export type Replication =
  | { readonly kind: "local" }
  | { readonly kind: "noop" }
  | { readonly kind: "remote"; readonly endpoint: GrpcEndpoint }
  | { readonly kind: "deduplicating"; readonly base: Replication }
  | {
      readonly kind: "concurrencyLimiting";
      readonly base: Replication;
      readonly maximumConcurrency: number;
    }
  | { readonly kind: "queued"; readonly base: Replication; readonly cache: ExistenceCacheOptions };

/**
 * What does the combination's work; `stores` are those that were opened for `local`, and what is fetched is for the store
 * with the identity.
 */
export function accessTo(
  combination: Combination,
  stores: ReadonlyMap<Combination, LocalStore>,
  storeIdentity: Identity,
): BlobAccess {
  switch (combination.kind) {
    case "local":
      return new LocalBackend(stores.get(combination)!, storeIdentity);
    case "mirrored": {
      const [a, b] = [new Routed(combination.a), new Routed(combination.b)];
      return new Mirrored(a, b, replicator(combination.aToB, a, b), replicator(combination.bToA, b, a));
    }
    case "readFallback": {
      const [primary, secondary] = [new Routed(combination.primary), new Routed(combination.secondary)];
      return new ReadFallback(primary, secondary, replicator(combination.replication, secondary, primary));
    }
    case "readCaching": {
      const [slow, fast] = [new Routed(combination.slow), new Routed(combination.fast)];
      return new ReadCaching(slow, fast, replicator(combination.replication, slow, fast));
    }
    case "readCanarying":
      return new ReadCanarying(
        new Routed(combination.source),
        new Routed(combination.replica),
        combination.options,
      );
    case "existenceCaching":
      return new ExistenceCaching(new Routed(combination.base), new ExistenceCache(combination.cache));
  }
}

/** The servers that what is stored goes to. */
export function writtenBackends(combination: Combination): readonly Route[] {
  switch (combination.kind) {
    case "mirrored":
      return [combination.a, combination.b];
    case "readFallback":
      return [combination.primary];
    case "readCaching":
      return [combination.slow];
    case "readCanarying":
      return [combination.source];
    case "existenceCaching":
      return [combination.base];
    case "local":
      return [];
  }
}

function replicator(replication: Replication, source: BlobAccess, sink: BlobAccess): Replicator {
  switch (replication.kind) {
    case "local":
      return new LocalReplicator(source, sink);
    case "noop":
      return NO_REPLICATION;
    case "remote":
      return new RemoteReplicator(replication.endpoint);
    case "deduplicating":
      return new DeduplicatingReplicator(replicator(replication.base, source, sink));
    case "concurrencyLimiting":
      return new ConcurrencyLimitingReplicator(
        replicator(replication.base, source, sink),
        replication.maximumConcurrency,
      );
    case "queued":
      return new QueuedReplicator(
        replicator(replication.base, source, sink),
        new ExistenceCache(replication.cache),
      );
  }
}
