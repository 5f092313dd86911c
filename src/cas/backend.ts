import type { GrpcEndpoint } from "../grpc/endpoint.ts";
import type { Digest } from "../reapi/digest.ts";

/** A storage server, and what the configuration says of its use. Plain data. */
export interface BlobServer {
  readonly endpoint: GrpcEndpoint;
  /** Zstandard, where the server announces it. */
  readonly compression: boolean;
  /** Overrides the retry policy's time for an attempt. */
  readonly timeoutMilliseconds?: number;
  /** Remembers which blobs the server has, so that it is not asked again. */
  readonly existenceCache?: { readonly maximumCount: number; readonly durationMilliseconds: number };
}

/** Where a blob is kept, and under which instance name there. */
export interface BlobRoute {
  /** Index in {@link BlobBackend.servers}. */
  readonly server: number;
  readonly instanceName: string;
}

/** Some storage servers, and for every blob one of them. */
export interface BlobBackend {
  readonly servers: readonly BlobServer[];
  /** Throws BlobError: a configured `error`, or INVALID_ARGUMENT for an instance name without a backend. */
  route(digest: Digest): BlobRoute;
}

/** A backend of one server, which has all blobs. */
export function grpcBackend(endpoint: GrpcEndpoint, options: { compression?: boolean } = {}): BlobBackend {
  return {
    servers: [{ endpoint, compression: options.compression ?? false }],
    route: ({ instanceName }) => ({ server: 0, instanceName }),
  };
}
