import type { BlobBackend } from "../../cas/backend.ts";
import type { PrefetchingConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { blobBackend } from "../blobstore/backend.ts";
import { all, type FieldPath } from "../field-path.ts";
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
  path: FieldPath,
): PrefetchingSettings {
  const { fileSystemAccessCache, bloomFilterBitsPerPath, bloomFilterMaximumSizeBytes, ...rest } =
    configuration;
  refuse(rest, path);
  const size = (name: string, value: number) => () => positive(BigInt(value), path.field(name));
  return all({
    fileSystemAccessCache: () =>
      blobBackend(fileSystemAccessCache, path.field("fileSystemAccessCache"), "fileSystemAccessCache")
        .backend,
    bloomFilterBitsPerPath: size("bloomFilterBitsPerPath", bloomFilterBitsPerPath),
    bloomFilterMaximumSizeBytes: size("bloomFilterMaximumSizeBytes", bloomFilterMaximumSizeBytes),
  });
}
