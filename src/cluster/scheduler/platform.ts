import { failure } from "../../grpc/status.ts";
import type { Platform } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { checkInstanceName } from "../../reapi/resource-name.ts";

/** Where a worker belongs, or an action wants to run. */
export interface PlatformKey {
  /** A worker's prefix, or an action's whole instance name. */
  readonly instanceName: string;
  /** The platform's properties as JSON, equal for equal platforms. */
  readonly platform: string;
}

/** Throws INVALID_ARGUMENT for an impossible instance name and for properties that are out of order. */
export function platformKey(instanceName: string, platform: Platform | undefined): PlatformKey {
  checkInstanceName(instanceName);
  const properties = (platform?.properties ?? []).map(({ name, value }) => ({ name, value }));
  properties.forEach((property, index) => {
    const previous = properties[index - 1];
    if (!previous || compare(previous, property) < 0) {
      return;
    }
    throw failure(
      Code.INVALID_ARGUMENT,
      "Platform properties are not lexicographically sorted, as property " +
        `${JSON.stringify(property)} should have been placed before property ${JSON.stringify(previous)}`,
    );
  });
  return { instanceName, platform: JSON.stringify({ properties }) };
}

/** What follows the prefix in the instance name; undefined if the name does not begin with the prefix. */
export function instanceNameSuffix(prefix: string, instanceName: string): string | undefined {
  if (prefix === "") {
    return instanceName;
  }
  if (instanceName === prefix) {
    return "";
  }
  return instanceName.startsWith(`${prefix}/`) ? instanceName.slice(prefix.length + 1) : undefined;
}

function compare(a: { name: string; value: string }, b: { name: string; value: string }): number {
  return (
    Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)) ||
    Buffer.compare(Buffer.from(a.value), Buffer.from(b.value))
  );
}
