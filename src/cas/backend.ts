import type { Duration } from "@bufbuild/protobuf/wkt";
import { status as Status } from "@grpc/grpc-js";
import type { GrpcEndpoint } from "../grpc/endpoint.ts";
import type { BlobAccessConfiguration } from "../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import type { ExistenceCacheConfiguration } from "../proto/gen/buildbarn/configuration/digest/digest_pb.ts";
import type { ClientConfiguration } from "../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { BlobError } from "../reapi/blob-error.ts";
import type { Digest } from "../reapi/digest.ts";
import { checkInstanceName } from "../reapi/resource-name.ts";
import { shardSelector } from "./sharding.ts";

/** A storage server, and what the configuration says of its use. Plain data. */
export interface BlobServer {
  readonly endpoint: GrpcEndpoint;
  /** Zstandard, where the server announces it. */
  readonly compression: boolean;
  /** Overrides the retry policy's time for an attempt. */
  readonly timeoutMilliseconds?: number;
  /** Remembers which blobs the server has, so that it is not asked again. */
  readonly existenceCache?: { readonly maximumCount: number; readonly durationMilliseconds: number };
  /** Action cache: results whose outputs are not in the CAS are as if they were not there. */
  readonly completenessChecking?: { readonly maximumTotalTreeSizeBytes: number };
}

/** Where a blob is kept, and under which instance name there. */
export interface BlobRoute {
  /** Index in {@link BlobBackend.servers}. */
  readonly server: number;
  readonly instanceName: string;
}

/** What a BlobAccessConfiguration comes down to: some servers, and for every blob one of them. */
export interface BlobBackend {
  readonly servers: readonly BlobServer[];
  /** Throws {@link BlobError}: INVALID_ARGUMENT for an instance name of no backend, or a configured `error`. */
  route(digest: Digest): BlobRoute;
}

/** A BlobAccessConfiguration that cannot be used. The message names the field. */
export class BackendConfigurationError extends Error {
  override readonly name = "BackendConfigurationError";
}

type Route = (instanceName: string, hash: string) => BlobRoute;

/** What enclosing backends say about all the servers in them. */
type Decorations = Omit<BlobServer, "endpoint" | "compression">;

/**
 * Makes a backend of Buildbarn's configuration.
 *
 * @param field The configuration's name in error messages, such as "blobstore.contentAddressableStorage".
 * @param endpoint Makes an endpoint of a client's configuration; throws for what it cannot.
 * @throws BackendConfigurationError
 */
export function blobBackend(
  configuration: BlobAccessConfiguration | undefined,
  field: string,
  endpoint: (client: ClientConfiguration, field: string) => GrpcEndpoint,
): BlobBackend {
  const servers: BlobServer[] = [];
  const route = routeTo(configuration, field, {}, new Map());
  return { servers, route: (digest) => route(digest.instanceName, digest.hash) };

  function routeTo(
    configuration: BlobAccessConfiguration | undefined,
    field: string,
    decorations: Decorations,
    labels: ReadonlyMap<string, Route>,
  ): Route {
    const backend = configuration?.backend;
    switch (backend?.case) {
      case "grpc": {
        if (backend.value.client === undefined) {
          throw new BackendConfigurationError(`${field}.grpc.client is missing`);
        }
        const server = servers.length;
        servers.push({
          endpoint: endpoint(backend.value.client, `${field}.grpc.client`),
          compression: backend.value.enableCompression,
          ...decorations,
        });
        return (instanceName) => ({ server, instanceName });
      }
      case "error": {
        const { code, message } = backend.value;
        return () => {
          throw new BlobError(code, message);
        };
      }
      case "existenceCaching":
        return routeTo(
          backend.value.backend,
          `${field}.existenceCaching.backend`,
          {
            ...decorations,
            existenceCache: existenceCache(backend.value.existenceCache, `${field}.existenceCaching`),
          },
          labels,
        );
      case "completenessChecking":
        return routeTo(
          backend.value.backend,
          `${field}.completenessChecking.backend`,
          {
            ...decorations,
            completenessChecking: {
              maximumTotalTreeSizeBytes: Number(backend.value.maximumTotalTreeSizeBytes),
            },
          },
          labels,
        );
      case "deadlineEnforcing":
        return routeTo(
          backend.value.backend,
          `${field}.deadlineEnforcing.backend`,
          {
            ...decorations,
            timeoutMilliseconds: milliseconds(backend.value.timeout, `${field}.deadlineEnforcing.timeout`),
          },
          labels,
        );
      case "demultiplexing": {
        const backends = Object.entries(backend.value.instanceNamePrefixes).map(([prefix, demultiplexed]) => {
          const where = `${field}.demultiplexing.instanceNamePrefixes[${JSON.stringify(prefix)}]`;
          return {
            prefix: prefixSegments(prefix, where),
            added: prefixSegments(demultiplexed.addInstanceNamePrefix, `${where}.addInstanceNamePrefix`),
            route: routeTo(demultiplexed.backend, `${where}.backend`, decorations, labels),
          };
        });
        backends.sort((a, b) => b.prefix.length - a.prefix.length);
        return (instanceName, hash) => {
          const segments = instanceName === "" ? [] : instanceName.split("/");
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
      case "sharding": {
        const shards = Object.entries(backend.value.shards).map(([key, shard]) => {
          const where = `${field}.sharding.shards[${JSON.stringify(key)}]`;
          if (shard.weight === 0) {
            throw new BackendConfigurationError(`${where}.weight must be above 0`);
          }
          return {
            key,
            weight: shard.weight,
            route: routeTo(shard.backend, `${where}.backend`, decorations, labels),
          };
        });
        if (shards.length === 0) {
          throw new BackendConfigurationError(`${field}.sharding.shards is empty`);
        }
        const select = shardSelector(shards);
        return (instanceName, hash) => shards[select(hash)]!.route(instanceName, hash);
      }
      case "withLabels": {
        const labelled = new Map(labels);
        for (const [label, configuration] of Object.entries(backend.value.labels)) {
          const where = `${field}.withLabels.labels[${JSON.stringify(label)}]`;
          labelled.set(label, routeTo(configuration, where, decorations, labels));
        }
        return routeTo(backend.value.backend, `${field}.withLabels.backend`, decorations, labelled);
      }
      case "label": {
        const labelled = labels.get(backend.value);
        if (labelled === undefined) {
          throw new BackendConfigurationError(
            `${field}.label: no enclosing withLabels has the label ${JSON.stringify(backend.value)}`,
          );
        }
        return labelled;
      }
      case undefined:
        throw new BackendConfigurationError(`${field} names no backend; ${SUPPORTED}`);
      default:
        throw new BackendConfigurationError(
          `${field}.${backend?.case} is not supported in a worker; ${SUPPORTED}`,
        );
    }
  }
}

const SUPPORTED =
  "supported are grpc, error, sharding, demultiplexing, existenceCaching, completenessChecking, " +
  "deadlineEnforcing, withLabels and label";

/** A backend of one server that is used as it is, without a configuration. */
export function grpcBackend(endpoint: GrpcEndpoint, options: { compression?: boolean } = {}): BlobBackend {
  return {
    servers: [{ endpoint, compression: options.compression ?? false }],
    route: ({ instanceName }) => ({ server: 0, instanceName }),
  };
}

function existenceCache(configuration: ExistenceCacheConfiguration | undefined, field: string) {
  const maximumCount = Number(configuration?.cacheSize ?? 0n);
  if (maximumCount <= 0) {
    throw new BackendConfigurationError(`${field}.existenceCache.cacheSize must be above 0`);
  }
  return {
    maximumCount,
    durationMilliseconds: milliseconds(configuration?.cacheDuration, `${field}.existenceCache.cacheDuration`),
  };
}

function milliseconds(duration: Duration | undefined, field: string): number {
  const value = duration === undefined ? 0 : Number(duration.seconds) * 1000 + duration.nanos / 1e6;
  if (value <= 0) {
    throw new BackendConfigurationError(`${field} must be above 0, such as "60s"`);
  }
  return value;
}

function prefixSegments(instanceName: string, field: string): readonly string[] {
  try {
    checkInstanceName(instanceName);
  } catch (error) {
    throw new BackendConfigurationError(`${field}: ${(error as Error).message}`, { cause: error });
  }
  return instanceName === "" ? [] : instanceName.split("/");
}
