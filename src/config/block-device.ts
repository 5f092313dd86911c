import type { Configuration } from "../proto/gen/buildbarn/configuration/blockdevice/blockdevice_pb.ts";
import { ConfigurationError } from "./error.ts";
import { type FieldPath, unsupported } from "./field-path.ts";
import { accept, refuse } from "./refuse.ts";
import { positive } from "./values.ts";

/** What stands for a block device here: a folder on a local disk, and the most bytes that may be in it. */
export interface FolderSettings {
  readonly path: string;
  readonly maximumSizeBytes: number;
}

/** What is kept in a file of a limited size, or in a block device. */
export interface BlockDeviceSettings {
  readonly path: string;
  /** Absent for a device, all of which may be used. */
  readonly maximumSizeBytes: number | undefined;
}

export function blockDeviceSettings(configuration: Configuration, path: FieldPath): BlockDeviceSettings {
  const { source, ...rest } = configuration;
  refuse(accept(rest, path, { writeConcurrencyLimit: "the kernel schedules writes" }), path);
  switch (source.case) {
    case undefined:
      throw new ConfigurationError(`${path}.file is missing: give a path and sizeBytes`);
    case "devicePath":
      return { path: source.value, maximumSizeBytes: undefined };
    case "file": {
      const { path: file, sizeBytes, ...rest } = source.value;
      refuse(rest, path.field("file"));
      if (file === "") {
        throw new ConfigurationError(`${path}.file.path is missing: give the path of a file`);
      }
      return { path: file, maximumSizeBytes: positive(sizeBytes, path.field("file.sizeBytes")) };
    }
  }
}

/** @param purpose What the folder is for, as in "give a folder for PURPOSE". */
export function folderSettings(
  configuration: Configuration | undefined,
  path: FieldPath,
  purpose: string,
): FolderSettings {
  const missing = () => new ConfigurationError(`${path}.file is missing: give a folder for ${purpose}`);
  if (configuration === undefined) {
    throw missing();
  }
  const { source, ...rest } = configuration;
  refuse(accept(rest, path, { writeConcurrencyLimit: "the kernel schedules writes" }), path);
  switch (source.case) {
    case undefined:
      throw missing();
    case "devicePath":
      throw unsupported(path.field("devicePath"), `give file, with the path of a folder for ${purpose}`);
    case "file": {
      const { path: folder, sizeBytes, ...rest } = source.value;
      refuse(rest, path.field("file"));
      if (folder === "") {
        throw new ConfigurationError(`${path}.file.path is missing: give a folder for ${purpose}`);
      }
      return { path: folder, maximumSizeBytes: positive(sizeBytes, path.field("file.sizeBytes")) };
    }
  }
}
