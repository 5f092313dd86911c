import type { BlobBackend } from "../../cas/backend.ts";
import type { PrefetchingConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { blobBackend } from "../blobstore/backend.ts";
import { refuse } from "../refuse.ts";
import { positive } from "../values.ts";

/** Where profiles of what actions read are kept, and how large they may become. */
export interface PrefetchingSettings {
  readonly fileSystemAccessCache: BlobBackend;
  readonly bloomFilterBitsPerPath: number;
  readonly bloomFilterMaximumSizeBytes: number;
}

/** Both sizes must be given, as Buildbarn requires. */
export function prefetchingSettings(
  configuration: PrefetchingConfiguration,
  path: string,
): PrefetchingSettings {
  const { fileSystemAccessCache, bloomFilterBitsPerPath, bloomFilterMaximumSizeBytes, ...rest } =
    configuration;
  refuse(rest, path);
  return {
    fileSystemAccessCache: blobBackend(
      fileSystemAccessCache,
      `${path}.fileSystemAccessCache`,
      "fileSystemAccessCache",
    ),
    bloomFilterBitsPerPath: positive(BigInt(bloomFilterBitsPerPath), `${path}.bloomFilterBitsPerPath`),
    bloomFilterMaximumSizeBytes: positive(
      BigInt(bloomFilterMaximumSizeBytes),
      `${path}.bloomFilterMaximumSizeBytes`,
    ),
  };
}
