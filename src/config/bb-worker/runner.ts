import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { Platform } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { RunnerConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import type { MonetaryResourceUsage_Expense } from "../../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import { grpcEndpoint } from "../grpc-client.ts";
import { refuse } from "../refuse.ts";
import { optional, positive } from "../values.ts";
import { type CharacterDevice, characterDevices } from "./character-devices.ts";

/** A runner of a build directory, and what its actions get. */
export interface RunnerSettings {
  readonly endpoint: GrpcEndpoint;
  readonly concurrency: number;
  readonly instanceNamePrefix: string;
  readonly platform: Platform | undefined;
  readonly sizeClass: number;
  /** Per action; absent means without bound. */
  readonly maximumFilePoolFileCount: number | undefined;
  readonly maximumFilePoolSizeBytes: number | undefined;
  readonly workerId: Readonly<Record<string, string>>;
  readonly inputRootCharacterDeviceNodes: readonly CharacterDevice[];
  readonly costsPerSecond: Readonly<Record<string, MonetaryResourceUsage_Expense>>;
  readonly environmentVariables: Readonly<Record<string, string>>;
  /** On one thread; absent if they do not matter. */
  readonly maximumConsecutiveTestInfrastructureFailures: number | undefined;
  readonly buildDirectoryOwner: { readonly userId: number; readonly groupId: number };
}

export function runnerSettings(configuration: RunnerConfiguration, path: string): RunnerSettings {
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
  return {
    endpoint: grpcEndpoint(endpoint, `${path}.endpoint`),
    concurrency: positive(concurrency, `${path}.concurrency`),
    instanceNamePrefix,
    platform,
    sizeClass,
    maximumFilePoolFileCount: optional(maximumFilePoolFileCount, `${path}.maximumFilePoolFileCount`),
    maximumFilePoolSizeBytes: optional(maximumFilePoolSizeBytes, `${path}.maximumFilePoolSizeBytes`),
    workerId,
    inputRootCharacterDeviceNodes: characterDevices(
      inputRootCharacterDeviceNodes,
      `${path}.inputRootCharacterDeviceNodes`,
    ),
    costsPerSecond,
    environmentVariables,
    maximumConsecutiveTestInfrastructureFailures: optional(
      maximumConsecutiveTestInfrastructureFailures,
      `${path}.maximumConsecutiveTestInfrastructureFailures`,
    ),
    buildDirectoryOwner: { userId: buildDirectoryOwnerUserId, groupId: buildDirectoryOwnerGroupId },
  };
}
