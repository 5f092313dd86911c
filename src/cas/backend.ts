import type { GrpcEndpoint } from "../grpc/endpoint.ts";
import type { Digest } from "../reapi/digest.ts";
import type { BlobRoute, BlobServer } from "./blob-server.ts";
import { type Combination, writtenBackends } from "./combined/combination.ts";

/** Some storage servers, and for every blob one of them, or several that are combined. */
export interface BlobBackend {
  readonly servers: readonly BlobServer[];
  readonly combinations: readonly Combination[];
  /** Throws BlobError: a configured `error`, or INVALID_ARGUMENT for an instance name without a backend. */
  route(digest: Digest): BlobRoute;
}

/** All servers that something with this digest is written to. Throws BlobError, as {@link BlobBackend.route}. */
export function writeRoutes({ route, combinations }: BlobBackend, digest: Digest): readonly BlobRoute[] {
  const resolve = (each: BlobRoute): readonly BlobRoute[] =>
    each.server >= 0
      ? [each]
      : writtenBackends(combinations[-1 - each.server]!).flatMap((written) =>
          resolve(written(each.instanceName, digest.hash)),
        );
  return resolve(route(digest));
}

/** A backend of one server, which has all blobs. */
export function grpcBackend(endpoint: GrpcEndpoint, options: { compression?: boolean } = {}): BlobBackend {
  return {
    servers: [{ endpoint, compression: options.compression ?? false }],
    combinations: [],
    route: ({ instanceName }) => ({ server: 0, instanceName }),
  };
}
