import { status as Status } from "@grpc/grpc-js";
import type { BlobBackend, BlobRoute, BlobServer } from "../../cas/backend.ts";
import { shardSelector } from "../../cas/sharding.ts";
import type {
  BlobAccessConfiguration,
  CompletenessCheckingBlobAccessConfiguration,
  DeadlineEnforcingBlobAccess,
  DemultiplexedBlobAccessConfiguration,
  DemultiplexingBlobAccessConfiguration,
  ExistenceCachingBlobAccessConfiguration,
  GrpcBlobAccessConfiguration,
  ShardingBlobAccessConfiguration,
  ShardingBlobAccessConfiguration_Shard,
  WithLabelsBlobAccessConfiguration,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import type { ExistenceCacheConfiguration } from "../../proto/gen/buildbarn/configuration/digest/digest_pb.ts";
import type { Status as ErrorConfiguration } from "../../proto/gen/google/rpc/status_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { checkInstanceName } from "../../reapi/resource-name.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { leastRecentlyUsed } from "../eviction.ts";
import { grpcEndpoint } from "../grpc-client.ts";
import { refuse, unsupported } from "../refuse.ts";
import { positive } from "../values.ts";

/** Which of the stores a backend is of; not every kind of backend makes sense for all. */
export type Store = "contentAddressableStorage" | "actionCache" | "fileSystemAccessCache";

type Route = (instanceName: string, hash: string) => BlobRoute;

/** Where in the configuration a backend stands, and what enclosing ones say of it. */
interface Place {
  readonly path: string;
  readonly store: Store;
  /** All servers that were found so far; a route names them by index. */
  readonly servers: BlobServer[];
  /** What enclosing backends say about all the servers in them. */
  readonly decorations: Omit<BlobServer, "endpoint" | "compression">;
  /** The backends that enclosing `withLabels` name. */
  readonly labels: ReadonlyMap<string, Route>;
}

/**
 * Makes a backend of a BlobAccessConfiguration. `path` is where it stands, for messages.
 *
 * Throws {@link ConfigurationError} for what is missing, wrong or not supported.
 */
export function blobBackend(
  configuration: BlobAccessConfiguration | undefined,
  path: string,
  store: Store,
): BlobBackend {
  const servers: BlobServer[] = [];
  const route = routeTo(configuration, { path, store, servers, decorations: {}, labels: new Map() });
  return { servers, route: (digest) => route(digest.instanceName, digest.hash) };
}

const SUPPORTED =
  "give grpc, error, sharding, demultiplexing, existenceCaching, completenessChecking, deadlineEnforcing, " +
  "withLabels or label";

const USE_BB_STORAGE = "let a bb_storage do this, and reach it by grpc";

const REFUSED_BACKENDS = {
  readCaching: "only the outermost backend of contentAddressableStorage can be; move it there, or remove it",
  local: "only contentAddressableStorage.readCaching.fast, the blob cache, can be; reach storage by grpc",
  mirrored: USE_BB_STORAGE,
  readFallback: USE_BB_STORAGE,
  readCanarying: USE_BB_STORAGE,
  referenceExpanding: USE_BB_STORAGE,
  hierarchicalInstanceNames: USE_BB_STORAGE,
  actionResultExpiring: USE_BB_STORAGE,
  zipReading: USE_BB_STORAGE,
  zipWriting: USE_BB_STORAGE,
} as const;

function routeTo(configuration: BlobAccessConfiguration | undefined, place: Place): Route {
  const { path } = place;
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: ${SUPPORTED}`);
  }
  const { backend, ...rest } = configuration;
  refuse(rest, path);
  const inner = { ...place, path: `${path}.${backend.case}` };
  switch (backend.case) {
    case "grpc":
      return grpcRoute(backend.value, inner);
    case "error":
      return errorRoute(backend.value, inner);
    case "sharding":
      return shardingRoute(backend.value, inner);
    case "demultiplexing":
      return demultiplexingRoute(backend.value, inner);
    case "existenceCaching":
      return existenceCachingRoute(backend.value, inner);
    case "completenessChecking":
      return completenessCheckingRoute(backend.value, inner);
    case "deadlineEnforcing":
      return deadlineEnforcingRoute(backend.value, inner);
    case "withLabels":
      return withLabelsRoute(backend.value, inner);
    case "label":
      return labelRoute(backend.value, inner);
    case undefined:
      throw new ConfigurationError(`${path} is empty: ${SUPPORTED}`);
    default:
      throw unsupported(inner.path, REFUSED_BACKENDS[backend.case]);
  }
}

function grpcRoute(configuration: GrpcBlobAccessConfiguration, place: Place): Route {
  const { path, store, servers, decorations } = place;
  const { client, enableCompression, ...rest } = configuration;
  refuse(rest, path);
  if (enableCompression && store !== "contentAddressableStorage") {
    throw unsupported(`${path}.enableCompression`, "only blobs are compressed; remove it");
  }
  const server = servers.length;
  servers.push({
    endpoint: grpcEndpoint(client, `${path}.client`),
    compression: enableCompression,
    ...decorations,
  });
  return (instanceName) => ({ server, instanceName });
}

function errorRoute({ code, message, ...rest }: ErrorConfiguration, { path }: Place): Route {
  refuse(rest, path, { details: "only code and message are passed on; remove it" });
  return () => {
    throw new BlobError(code, message);
  };
}

function shardingRoute(configuration: ShardingBlobAccessConfiguration, place: Place): Route {
  const { path } = place;
  const { shards: shardConfigurations, ...rest } = configuration;
  refuse(rest, path);
  const shards = Object.entries(shardConfigurations).map(([key, shard]) =>
    shardOf(key, shard, { ...place, path: `${path}.shards[${JSON.stringify(key)}]` }),
  );
  if (shards.length === 0) {
    throw new ConfigurationError(`${path}.shards is empty: give at least one`);
  }
  const select = shardSelector(shards);
  return (instanceName, hash) => shards[select(hash)]!.route(instanceName, hash);
}

function shardOf(key: string, configuration: ShardingBlobAccessConfiguration_Shard, place: Place) {
  const { path } = place;
  const { backend, weight, ...rest } = configuration;
  refuse(rest, path);
  if (weight === 0) {
    throw new ConfigurationError(`${path}.weight is 0: give a number above 0`);
  }
  return { key, weight, route: routeTo(backend, { ...place, path: `${path}.backend` }) };
}

function demultiplexingRoute(configuration: DemultiplexingBlobAccessConfiguration, place: Place): Route {
  const { path } = place;
  const { instanceNamePrefixes, ...rest } = configuration;
  refuse(rest, path);
  const backends = Object.entries(instanceNamePrefixes).map(([prefix, demultiplexed]) =>
    demultiplexedBackend(prefix, demultiplexed, {
      ...place,
      path: `${path}.instanceNamePrefixes[${JSON.stringify(prefix)}]`,
    }),
  );
  backends.sort((a, b) => b.prefix.length - a.prefix.length);
  return (instanceName, hash) => {
    const segments = segmentsOf(instanceName);
    const found = backends.find(({ prefix }) =>
      prefix.every((segment, index) => segments[index] === segment),
    );
    if (found === undefined) {
      throw new BlobError(
        Status.INVALID_ARGUMENT,
        `no backend is configured for the instance name ${JSON.stringify(instanceName)}`,
      );
    }
    return found.route([...found.added, ...segments.slice(found.prefix.length)].join("/"), hash);
  };
}

function demultiplexedBackend(
  prefix: string,
  configuration: DemultiplexedBlobAccessConfiguration,
  place: Place,
) {
  const { path } = place;
  const { backend, addInstanceNamePrefix, ...rest } = configuration;
  refuse(rest, path);
  return {
    prefix: prefixSegments(prefix, path),
    added: prefixSegments(addInstanceNamePrefix, `${path}.addInstanceNamePrefix`),
    route: routeTo(backend, { ...place, path: `${path}.backend` }),
  };
}

function prefixSegments(instanceName: string, path: string): readonly string[] {
  try {
    checkInstanceName(instanceName);
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
  return segmentsOf(instanceName);
}

function segmentsOf(instanceName: string): readonly string[] {
  return instanceName === "" ? [] : instanceName.split("/");
}

function existenceCachingRoute(configuration: ExistenceCachingBlobAccessConfiguration, place: Place): Route {
  const { path, store, decorations } = place;
  const { backend, existenceCache, ...rest } = configuration;
  refuse(rest, path);
  if (store !== "contentAddressableStorage") {
    throw unsupported(path, "only blob storage is asked what it lacks; give the backend by itself");
  }
  return routeTo(backend, {
    ...place,
    path: `${path}.backend`,
    decorations: {
      ...decorations,
      existenceCache: existenceCacheOf(existenceCache, `${path}.existenceCache`),
    },
  });
}

function existenceCacheOf(configuration: ExistenceCacheConfiguration | undefined, path: string) {
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: give cacheSize and cacheDuration`);
  }
  const { cacheSize, cacheDuration, cacheReplacementPolicy, ...rest } = configuration;
  refuse(rest, path);
  leastRecentlyUsed(cacheReplacementPolicy, `${path}.cacheReplacementPolicy`);
  return {
    maximumCount: positive(cacheSize, `${path}.cacheSize`),
    durationMilliseconds: positiveMilliseconds(cacheDuration, `${path}.cacheDuration`),
  };
}

/** What is checked is results that are read. A worker only writes them, which goes straight to the backend. */
function completenessCheckingRoute(
  configuration: CompletenessCheckingBlobAccessConfiguration,
  place: Place,
): Route {
  const { path, store } = place;
  const { backend, maximumTotalTreeSizeBytes, ...rest } = configuration;
  refuse(rest, path);
  if (store !== "actionCache") {
    throw unsupported(path, "only action results can be incomplete; give the backend by itself");
  }
  positive(maximumTotalTreeSizeBytes, `${path}.maximumTotalTreeSizeBytes`);
  return routeTo(backend, { ...place, path: `${path}.backend` });
}

function deadlineEnforcingRoute(configuration: DeadlineEnforcingBlobAccess, place: Place): Route {
  const { path, decorations } = place;
  const { timeout, backend, ...rest } = configuration;
  refuse(rest, path);
  const timeoutMilliseconds = positiveMilliseconds(timeout, `${path}.timeout`);
  return routeTo(backend, {
    ...place,
    path: `${path}.backend`,
    decorations: { ...decorations, timeoutMilliseconds },
  });
}

function withLabelsRoute(configuration: WithLabelsBlobAccessConfiguration, place: Place): Route {
  const { path } = place;
  const { backend, labels, ...rest } = configuration;
  refuse(rest, path);
  const labelled = new Map(place.labels);
  for (const [label, labelledBackend] of Object.entries(labels)) {
    labelled.set(
      label,
      routeTo(labelledBackend, { ...place, path: `${path}.labels[${JSON.stringify(label)}]` }),
    );
  }
  return routeTo(backend, { ...place, path: `${path}.backend`, labels: labelled });
}

function labelRoute(label: string, { path, labels }: Place): Route {
  const labelled = labels.get(label);
  if (labelled === undefined) {
    throw new ConfigurationError(
      `${path}: no enclosing withLabels has the label ${JSON.stringify(label)}; give one of ${
        [...labels.keys()].map((known) => JSON.stringify(known)).join(", ") || "those that withLabels names"
      }`,
    );
  }
  return labelled;
}
