import type { BlobBackend } from "../../cas/backend.ts";
import type { Route } from "../../cas/blob-server.ts";
import type { LocalStoreOptions } from "../../cas/local/options.ts";
import { shardSelector } from "../../cas/sharding.ts";
import type {
  ActionResultExpiringBlobAccessConfiguration,
  BlobAccessConfiguration,
  CompletenessCheckingBlobAccessConfiguration,
  DeadlineEnforcingBlobAccess,
  GrpcBlobAccessConfiguration,
  ShardingBlobAccessConfiguration,
  ShardingBlobAccessConfiguration_Shard,
  WithLabelsBlobAccessConfiguration,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import type { Status as ErrorConfiguration } from "../../proto/gen/google/rpc/status_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { each, type FieldPath, unsupported } from "../field-path.ts";
import { grpcEndpoint } from "../network/grpc-client.ts";
import { accept, refuse } from "../refuse.ts";
import { positive } from "../values.ts";
import {
  existenceCachingRoute,
  localRoute,
  mirroredRoute,
  readCachingRoute,
  readCanaryingRoute,
  readFallbackRoute,
} from "./combined.ts";
import { demultiplexingRoute } from "./demultiplexing.ts";
import type { BackendParts, Place, Store } from "./place.ts";

/** A backend, and the settings of the local cache in it. */
export interface BackendSettings {
  readonly backend: BlobBackend;
  readonly blobCache: LocalStoreOptions | undefined;
}

/**
 * Makes a backend of a BlobAccessConfiguration. `path` is where it stands, for messages.
 *
 * Throws {@link ConfigurationError} for what is missing, wrong or not supported.
 */
export function blobBackend(
  configuration: BlobAccessConfiguration | undefined,
  path: FieldPath,
  store: Store,
): BackendSettings {
  const parts: BackendParts = { servers: [], combinations: [], blobCache: undefined };
  const route = routeTo(configuration, { path, store, parts, decorations: {}, labels: new Map(), routeTo });
  const { servers, combinations } = parts;
  return {
    backend: { servers, combinations, route: (digest) => route(digest.instanceName, digest.hash) },
    blobCache: parts.blobCache,
  };
}

const SUPPORTED = "give grpc, local, or a backend that is made of others";

const IN_BB_STORAGE = "let a bb_storage do this, and reach it by grpc";

const REFUSED_BACKENDS = {
  referenceExpanding: IN_BB_STORAGE,
  zipReading: IN_BB_STORAGE,
  zipWriting: IN_BB_STORAGE,
} as const;

function routeTo(configuration: BlobAccessConfiguration | undefined, place: Place): Route {
  const { path } = place;
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: ${SUPPORTED}`);
  }
  const { backend, ...rest } = configuration;
  refuse(rest, path);
  const inner = { ...place, path: path.field(backend.case ?? "") };
  switch (backend.case) {
    case "grpc":
      return grpcRoute(backend.value, inner);
    case "local":
      return localRoute(backend.value, inner);
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
    case "readCaching":
      return readCachingRoute(backend.value, inner);
    case "mirrored":
      return mirroredRoute(backend.value, inner);
    case "readFallback":
      return readFallbackRoute(backend.value, inner);
    case "readCanarying":
      return readCanaryingRoute(backend.value, inner);
    case "hierarchicalInstanceNames":
      return hierarchicalRoute(backend.value, inner);
    case "actionResultExpiring":
      return actionResultExpiringRoute(backend.value, inner);
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
  const { path, store, parts, decorations } = place;
  const { client, enableCompression, ...rest } = configuration;
  refuse(rest, path);
  if (enableCompression && store !== "contentAddressableStorage") {
    path.field("enableCompression").otherwise("only blobs are compressed");
  }
  const server = parts.servers.length;
  parts.servers.push({
    endpoint: grpcEndpoint(client, path.field("client")),
    compression: enableCompression && store === "contentAddressableStorage",
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
  const shards = each(Object.entries(shardConfigurations), ([key, shard]) =>
    shardOf(key, shard, { ...place, path: path.field("shards").key(key) }),
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
  return { key, weight, route: routeTo(backend, { ...place, path: path.field("backend") }) };
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
  positive(maximumTotalTreeSizeBytes, path.field("maximumTotalTreeSizeBytes"));
  return routeTo(backend, { ...place, path: path.field("backend") });
}

function deadlineEnforcingRoute(configuration: DeadlineEnforcingBlobAccess, place: Place): Route {
  const { path, decorations } = place;
  const { timeout, backend, ...rest } = configuration;
  refuse(rest, path);
  const timeoutMilliseconds = positiveMilliseconds(timeout, path.field("timeout"));
  return routeTo(backend, {
    ...place,
    path: path.field("backend"),
    decorations: { ...decorations, timeoutMilliseconds },
  });
}

function withLabelsRoute(configuration: WithLabelsBlobAccessConfiguration, place: Place): Route {
  const { path } = place;
  const { backend, labels, ...rest } = configuration;
  refuse(rest, path);
  const labelled = new Map(place.labels);
  for (const [label, labelledBackend] of Object.entries(labels)) {
    if (place.labels.has(label)) {
      throw new ConfigurationError(
        `${path.field("labels").key(label)}: an enclosing withLabels has that label, too; rename one of them`,
      );
    }
    labelled.set(label, routeTo(labelledBackend, { ...place, path: path.field("labels").key(label) }));
  }
  return routeTo(backend, { ...place, path: path.field("backend"), labels: labelled });
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

/** Results are looked for under shorter instance names, too, but written under their own. */
function hierarchicalRoute(configuration: BlobAccessConfiguration, place: Place): Route {
  if (place.store === "contentAddressableStorage") {
    throw unsupported(
      place.path,
      "a content-addressable storage has the same blobs under every instance name; give the backend by itself",
    );
  }
  return routeTo(configuration, place);
}

/** Only results that are read can have expired. */
function actionResultExpiringRoute(
  configuration: ActionResultExpiringBlobAccessConfiguration,
  place: Place,
): Route {
  const { path, store } = place;
  const { backend, ...rest } = configuration;
  if (store === "contentAddressableStorage") {
    throw unsupported(path, "only action results expire; give the backend by itself");
  }
  const unread = "results are only written here, never read";
  refuse(
    accept(rest, path, { minimumValidity: unread, maximumValidityJitter: unread, minimumTimestamp: unread }),
    path,
  );
  return routeTo(backend, { ...place, path: path.field("backend") });
}
