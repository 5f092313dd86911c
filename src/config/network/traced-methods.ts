import type { TracedMethods } from "../../grpc/calls/tracing.ts";
import type { TracingMethodConfiguration } from "../../proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { ConfigurationError } from "../error.ts";
import type { FieldPath } from "../field-path.ts";
import { refuse } from "../refuse.ts";

export function tracedMethods(
  methods: Readonly<Record<string, TracingMethodConfiguration>>,
  path: FieldPath,
): TracedMethods {
  return Object.fromEntries(
    Object.entries(methods).map(([method, configuration]) => {
      if (!/^\/[^/]+\/[^/]+$/.test(method)) {
        throw new ConfigurationError(`${path.key(method)}: give "/PACKAGE.SERVICE/METHOD" as the method`);
      }
      const { attributesFromFirstRequestMessage, attributesFromFirstResponseMessage, ...rest } =
        configuration;
      refuse(rest, path.key(method));
      return [
        method,
        { request: attributesFromFirstRequestMessage, response: attributesFromFirstResponseMessage },
      ];
    }),
  );
}
