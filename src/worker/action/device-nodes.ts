import { statSync } from "node:fs";
import { ConfigurationError } from "../../config/error.ts";
import type { Credentials, Directory, Name } from "../../nfs/file-system.ts";
import { FileType } from "../../nfs/file-system.ts";
import { ensureDirectory } from "./output-hierarchy.ts";

export interface CharacterDevice {
  readonly name: Name;
  readonly major: number;
  readonly minor: number;
}

/**
 * The devices that `inputRootCharacterDeviceNodes` names, with the numbers they have in this machine's /dev.
 *
 * Throws {@link ConfigurationError} where one is not there or is not a character device.
 */
export function characterDevices(names: readonly string[], directory = "/dev"): CharacterDevice[] {
  return names.map((name) => {
    const path = `${directory}/${name}`;
    const found = name.includes("/") ? undefined : statSync(path, { throwIfNoEntry: false });
    if (found === undefined || !found.isCharacterDevice()) {
      throw new ConfigurationError(
        `inputRootCharacterDeviceNodes: ${path} is not a character device on this machine. ` +
          "Names stand for devices in /dev, such as null, zero, full, random, urandom, tty",
      );
    }
    return { name, ...deviceNumbers(found.rdev) };
  });
}

/** Linux's dev_t: 12 bits of major between 20 bits of minor. */
function deviceNumbers(device: number): { major: number; minor: number } {
  return { major: (device >>> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xfff00) };
}

/** Places the devices in the input root's /dev, instead of what the input root has under their names. */
export async function createDeviceNodes(
  inputRoot: Directory,
  devices: readonly CharacterDevice[],
  owner: Credentials,
): Promise<void> {
  if (devices.length === 0) {
    return;
  }
  const directory = await ensureDirectory(inputRoot, "dev", "dev", owner);
  for (const { name, major, minor } of devices) {
    if ((await directory.lookup(name)) !== undefined) {
      await directory.remove(name);
    }
    await directory.createSpecial(
      name,
      owner,
      { type: FileType.CHARACTER_DEVICE, major, minor },
      { mode: 0o666 },
    );
  }
}
