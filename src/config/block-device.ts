import type { Configuration } from "../proto/gen/buildbarn/configuration/blockdevice/blockdevice_pb.ts";
import { ConfigurationError } from "./error.ts";
import type { FieldPath } from "./field-path.ts";
import { accept, refuse } from "./refuse.ts";
import { pathOf, positive } from "./values.ts";

/** What is kept in a file of a limited size, or in a block device. */
export interface BlockDeviceSettings {
  readonly path: string;
  /** Absent for a device, all of which may be used. */
  readonly maximumSizeBytes: number | undefined;
}

export function blockDeviceSettings(
  configuration: Configuration | undefined,
  path: FieldPath,
): BlockDeviceSettings {
  const missing = () =>
    new ConfigurationError(`${path} is missing: give file, with path and sizeBytes, or devicePath`);
  if (configuration === undefined) {
    throw missing();
  }
  const { source, ...rest } = configuration;
  refuse(accept(rest, path, { writeConcurrencyLimit: "the kernel schedules writes" }), path);
  switch (source.case) {
    case undefined:
      throw missing();
    case "devicePath":
      return { path: pathOf(source.value, path.field("devicePath")), maximumSizeBytes: undefined };
    case "file": {
      const { path: file, sizeBytes, ...rest } = source.value;
      refuse(rest, path.field("file"));
      return {
        path: pathOf(file, path.field("file.path")),
        maximumSizeBytes: positive(sizeBytes, path.field("file.sizeBytes")),
      };
    }
  }
}
