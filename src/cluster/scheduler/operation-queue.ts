import type { Handlers } from "../../grpc/handlers.ts";
import { unary } from "../../grpc/handlers.ts";
import type {
  OperationQueue,
  SynchronizeRequest,
} from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import type { BuildQueue } from "./build-queue.ts";

/** The service buildbarn.remoteworker.OperationQueue, which workers call. */
export function operationQueueService(queue: BuildQueue): Handlers<typeof OperationQueue> {
  return {
    synchronize: unary((request: SynchronizeRequest, { signal }) => queue.synchronize(request, signal)),
  };
}
