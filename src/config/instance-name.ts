import { checkInstanceName } from "../reapi/resource-name.ts";
import { ConfigurationError } from "./error.ts";
import type { FieldPath } from "./field-path.ts";

/** An instance name, or a prefix of one. Throws {@link ConfigurationError} for one that REAPI does not allow. */
export function instanceNameOf(instanceName: string, path: FieldPath): string {
  try {
    checkInstanceName(instanceName);
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
  return instanceName;
}
