import type { Handlers } from "../../grpc/handlers.ts";
import { unary } from "../../grpc/handlers.ts";
import { failure } from "../../grpc/status.ts";
import type {
  CancelOperationRequest,
  DeleteOperationRequest,
  GetOperationRequest,
  Operations,
} from "../../proto/gen/google/longrunning/operations_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { BuildQueue } from "./build-queue.ts";
import type { Operation } from "./operation.ts";

/** The service google.longrunning.Operations, for operations that Execute began. */
export function operationsService(queue: BuildQueue): Handlers<typeof Operations> {
  const named = (name: string): Operation => {
    const operation = queue.operation(name);
    if (!operation) {
      throw failure(Code.NOT_FOUND, `Operation with name ${JSON.stringify(name)} not found`);
    }
    return operation;
  };
  return {
    listOperations: unary(() => ({
      operations: [...queue.operations()].map((operation) => operation.message()),
    })),
    getOperation: unary(({ name }: GetOperationRequest) => named(name).message()),
    cancelOperation: unary(({ name }: CancelOperationRequest) => {
      queue.cancel(named(name));
      return {};
    }),
    deleteOperation: unary(({ name }: DeleteOperationRequest) => {
      queue.remove(named(name));
      return {};
    }),
  };
}
