import type { GrpcEndpoint } from "../../grpc/endpoint.ts";
import type { CompletedActionLoggingConfiguration } from "../../proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { all, type FieldPath } from "../field-path.ts";
import { instanceNameOf } from "../instance-name.ts";
import { grpcEndpoint } from "../network/grpc-client.ts";
import { refuse } from "../refuse.ts";

/** A server that is told of every action that has been run. */
export interface CompletedActionLoggerSettings {
  readonly endpoint: GrpcEndpoint;
  /** Actions that the server has not acknowledged; with 0, as in Buildbarn, it is told of none. */
  readonly maximumSendQueueSize: number;
  readonly addInstanceNamePrefix: string;
}

export function completedActionLoggerSettings(
  configuration: CompletedActionLoggingConfiguration,
  path: FieldPath,
): CompletedActionLoggerSettings {
  const { client, maximumSendQueueSize, addInstanceNamePrefix, ...rest } = configuration;
  refuse(rest, path);
  return all({
    endpoint: () => grpcEndpoint(client, path.field("client")),
    maximumSendQueueSize: () => maximumSendQueueSize,
    addInstanceNamePrefix: () => instanceNameOf(addInstanceNamePrefix, path.field("addInstanceNamePrefix")),
  });
}
