import type { GrpcEndpoint } from "../grpc/endpoint.ts";

/** A storage server, and what the configuration says of its use. Plain data. */
export interface BlobServer {
  readonly endpoint: GrpcEndpoint;
  /** Zstandard, where the server announces it. */
  readonly compression: boolean;
  /** Overrides the retry policy's time for an attempt. */
  readonly timeoutMilliseconds?: number;
}

/** Where a blob is kept, and under which instance name there. */
export interface BlobRoute {
  /** A server's index; or, below 0, that of a combination, counted down from -1. */
  readonly server: number;
  readonly instanceName: string;
}

/** Throws BlobError: a configured `error`, or INVALID_ARGUMENT for an instance name without a backend. */
export type Route = (instanceName: string, hash: string) => BlobRoute;
