import { timestampMs } from "@bufbuild/protobuf/wkt";
import { packAny } from "../../grpc/status.ts";
import type { ExecutedActionMetadata } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  FilePoolResourceUsageSchema,
  InputRootResourceUsageSchema,
  type MonetaryResourceUsage_Expense,
  MonetaryResourceUsageSchema,
} from "../../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import type { FilePoolUsage } from "../../vfs/index.ts";
import type { InputRootUsage } from "../prefetching/access-profile.ts";

/** Adds what an action did to its files, as Buildbarn does for every action; undefined if it came to nothing. */
export function addFilePoolUsage(metadata: ExecutedActionMetadata, usage: FilePoolUsage | undefined): void {
  const fields = Object.entries(usage ?? {}).map(([field, value]) => [field, BigInt(value)]);
  metadata.auxiliaryMetadata.push(packAny(FilePoolResourceUsageSchema, Object.fromEntries(fields)));
}

/** Adds what an action read of its input root, if that was taken down. */
export function addInputRootUsage(metadata: ExecutedActionMetadata, usage: InputRootUsage | undefined): void {
  if (usage !== undefined) {
    metadata.auxiliaryMetadata.push(packAny(InputRootResourceUsageSchema, usage));
  }
}

/** Adds what the time from the action's arrival to its end costs, if anything does. */
export function addCosts(
  metadata: ExecutedActionMetadata,
  costsPerSecond: Readonly<Record<string, MonetaryResourceUsage_Expense>>,
): void {
  const kinds = Object.entries(costsPerSecond);
  if (kinds.length === 0) {
    return;
  }
  const seconds =
    (timestampMs(metadata.workerCompletedTimestamp!) - timestampMs(metadata.workerStartTimestamp!)) / 1000;
  const expenses = Object.fromEntries(
    kinds.map(([kind, { currency, cost }]) => [kind, { currency, cost: cost * seconds }]),
  );
  metadata.auxiliaryMetadata.push(packAny(MonetaryResourceUsageSchema, { expenses }));
}
