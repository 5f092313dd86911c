import { statSync } from "node:fs";
import { ConfigurationError } from "../error.ts";
import { each, type FieldPath } from "../field-path.ts";

/** A node to create in the /dev of input roots. */
export interface CharacterDevice {
  readonly name: string;
  readonly major: number;
  readonly minor: number;
}

/**
 * The devices of these names, with the numbers that they have in this machine's /dev. `path` is where the names
 * stand, for messages.
 */
export function characterDevices(names: readonly string[], path: FieldPath): readonly CharacterDevice[] {
  return each(names, (name, index) => {
    const device = `/dev/${name}`;
    const found = name.includes("/") ? undefined : statSync(device, { throwIfNoEntry: false });
    if (found === undefined || !found.isCharacterDevice()) {
      throw new ConfigurationError(
        `${path}[${index}]: ${device} is not a character device on this machine; ` +
          "give the names of devices in /dev, such as null, zero, full, random, urandom, tty",
      );
    }
    return { name, ...deviceNumbers(found.rdev) };
  });
}

/** Linux's dev_t: 12 bits of major between 20 bits of minor. */
function deviceNumbers(device: number): { major: number; minor: number } {
  return { major: (device >>> 8) & 0xfff, minor: (device & 0xff) | ((device >>> 12) & 0xfff00) };
}
