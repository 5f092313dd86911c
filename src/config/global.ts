import {
  type Configuration,
  ConfigurationSchema,
} from "../proto/gen/buildbarn/configuration/global/global_pb.ts";
import { requireSupportedFields } from "./supported-fields.ts";

/**
 * Applies what is configured for the whole process. Throws {@link ConfigurationError} for a setting that is
 * not supported.
 */
export function applyGlobalConfiguration(configuration: Configuration | undefined, path = "global"): void {
  if (configuration === undefined) {
    return;
  }
  requireSupportedFields(ConfigurationSchema, configuration, path, ["setUmask"], {
    logPaths: "redirect standard error instead",
    setResourceLimits:
      "set the limits where the process is started (ulimit, LimitNOFILE=, docker run --ulimit)",
  });
  if (configuration.setUmask !== undefined) {
    process.umask(configuration.setUmask.umask);
  }
}
