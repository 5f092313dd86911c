import type { Server } from "@grpc/grpc-js";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import {
  Health,
  type HealthCheckRequest,
  HealthCheckResponse_ServingStatus as Status,
} from "../../proto/gen/grpc/health/v1/health_pb.ts";
import { addService, serverStreaming, unary } from "../handlers.ts";
import { failure } from "../status.ts";

/** Serves grpc.health.v1.Health: as a whole, and under the name given, the server is up as long as it answers. */
export function addHealthService(server: Server, name: string): void {
  const isServed = (service: string): boolean => service === "" || service === name;
  addService(server, Health, {
    check: unary(({ service }: HealthCheckRequest) => {
      if (!isServed(service)) {
        throw failure(Code.NOT_FOUND, `unknown service ${JSON.stringify(service)}`);
      }
      return { status: Status.SERVING };
    }),
    watch: serverStreaming(async function* ({ service }: HealthCheckRequest, { signal }) {
      yield { status: isServed(service) ? Status.SERVING : Status.SERVICE_UNKNOWN };
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    }),
  });
}
