import type { Replication } from "../../cas/combined/combination.ts";
import type { BlobReplicatorConfiguration } from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import { ConfigurationError } from "../error.ts";
import { all, type FieldPath } from "../field-path.ts";
import { grpcEndpoint } from "../network/grpc-client.ts";
import { refuse } from "../refuse.ts";
import { positive } from "../values.ts";
import { existenceCache } from "./existence-cache.ts";

export function replicationOf(
  configuration: BlobReplicatorConfiguration | undefined,
  path: FieldPath,
): Replication {
  if (configuration?.mode.case === undefined) {
    throw new ConfigurationError(`${path} is empty: give {"local": {}}`);
  }
  const { mode, ...rest } = configuration;
  refuse(rest, path);
  const inner = path.field(mode.case);
  switch (mode.case) {
    case "local":
    case "noop":
      return { kind: mode.case };
    case "remote":
      return { kind: "remote", endpoint: grpcEndpoint(mode.value, inner) };
    case "deduplicating":
      return { kind: "deduplicating", base: replicationOf(mode.value, inner) };
    case "concurrencyLimiting": {
      const { base, maximumConcurrency, ...rest } = mode.value;
      refuse(rest, inner);
      const made = all({
        base: () => replicationOf(base, inner.field("base")),
        maximumConcurrency: () => positive(maximumConcurrency, inner.field("maximumConcurrency")),
      });
      return { kind: "concurrencyLimiting", ...made };
    }
    case "queued": {
      const { base, existenceCache: cache, ...rest } = mode.value;
      refuse(rest, inner);
      const made = all({
        base: () => replicationOf(base, inner.field("base")),
        cache: () => existenceCache(cache, inner.field("existenceCache")),
      });
      return { kind: "queued", ...made };
    }
  }
}

/** What is read goes into the blob cache, once however many read it, and without holding up who reads it. */
export function copiesToBlobCache(
  configuration: BlobReplicatorConfiguration | undefined,
  path: FieldPath,
): void {
  if (configuration === undefined) {
    return;
  }
  const { mode, ...rest } = configuration;
  refuse(rest, path);
  switch (mode.case) {
    case "local":
      return;
    case "deduplicating":
      copiesToBlobCache(mode.value, path.field("deduplicating"));
      return;
    case "concurrencyLimiting":
    case "queued":
      path.field(mode.case).otherwise("each blob that is read is put into the cache as it arrives");
      return;
    case "noop":
      path.field("noop").otherwise("what is read is put into the blob cache, which would be of no use else");
      return;
    case "remote":
      path
        .field("remote")
        .otherwise("what is read is put into the blob cache, which no other server could do");
      return;
    case undefined:
      throw new ConfigurationError(`${path} is empty: give {"local": {}}`);
  }
}
