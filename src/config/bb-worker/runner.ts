import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { Platform } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { RunnerConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import type { MonetaryResourceUsage_Expense } from "../../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import { all, type FieldPath } from "../field-path.ts";
import { grpcEndpoint } from "../network/grpc-client.ts";
import { accept, refuse } from "../refuse.ts";
import { optional, positive } from "../values.ts";
import { type CharacterDevice, characterDevices } from "./character-devices.ts";

/** A runner of a build directory, and what its actions get. */
export interface RunnerSettings {
  readonly endpoint: GrpcEndpoint;
  readonly concurrency: number;
  readonly instanceNamePrefix: string;
  readonly platform: Platform | undefined;
  readonly sizeClass: number;
  /** Per action; with 0 it cannot write anything. */
  readonly maximumFilePoolFileCount: number;
  readonly maximumFilePoolSizeBytes: number;
  readonly workerId: Readonly<Record<string, string>>;
  readonly inputRootCharacterDeviceNodes: readonly CharacterDevice[];
  readonly costsPerSecond: Readonly<Record<string, MonetaryResourceUsage_Expense>>;
  readonly environmentVariables: Readonly<Record<string, string>>;
  /** On one thread; absent if they do not matter. */
  readonly maximumConsecutiveTestInfrastructureFailures: number | undefined;
  readonly buildDirectoryOwner: { readonly userId: number; readonly groupId: number };
}

const NO_QUOTA = "in a native build directory, nothing but the disk limits what an action writes";
const NO_OWNER = "in a native build directory, files belong to the users of worker and runner";

/** `isNative`: as Buildbarn's worker, this one can neither limit nor give away what is on a local disk. */
export function runnerSettings(
  configuration: RunnerConfiguration,
  path: FieldPath,
  isNative: boolean,
): RunnerSettings {
  if (isNative) {
    accept(configuration, path, {
      maximumFilePoolFileCount: NO_QUOTA,
      maximumFilePoolSizeBytes: NO_QUOTA,
      buildDirectoryOwnerUserId: NO_OWNER,
      buildDirectoryOwnerGroupId: NO_OWNER,
    });
  }
  const {
    endpoint,
    concurrency,
    instanceNamePrefix,
    platform,
    sizeClass,
    maximumFilePoolFileCount,
    maximumFilePoolSizeBytes,
    workerId,
    inputRootCharacterDeviceNodes,
    costsPerSecond,
    environmentVariables,
    buildDirectoryOwnerUserId,
    buildDirectoryOwnerGroupId,
    maximumConsecutiveTestInfrastructureFailures,
    ...rest
  } = configuration;
  refuse(rest, path);
  return all({
    endpoint: () => grpcEndpoint(endpoint, path.field("endpoint")),
    concurrency: () => positive(concurrency, path.field("concurrency")),
    instanceNamePrefix: () => instanceNamePrefix,
    platform: () => platform,
    sizeClass: () => sizeClass,
    maximumFilePoolFileCount: () => Number(maximumFilePoolFileCount),
    maximumFilePoolSizeBytes: () => Number(maximumFilePoolSizeBytes),
    workerId: () => workerId,
    inputRootCharacterDeviceNodes: () =>
      characterDevices(inputRootCharacterDeviceNodes, path.field("inputRootCharacterDeviceNodes")),
    costsPerSecond: () => costsPerSecond,
    environmentVariables: () => environmentVariables,
    maximumConsecutiveTestInfrastructureFailures: () =>
      optional(
        maximumConsecutiveTestInfrastructureFailures,
        path.field("maximumConsecutiveTestInfrastructureFailures"),
      ),
    buildDirectoryOwner: () => ({ userId: buildDirectoryOwnerUserId, groupId: buildDirectoryOwnerGroupId }),
  });
}
