import type { CharacterDevice } from "../../config/bb-worker/character-devices.ts";
import type { Credentials } from "../../nfs/file-system.ts";
import { FileType } from "../../nfs/file-system.ts";
import type { ActionFolder } from "./action-files.ts";
import { ensureDirectory } from "./outputs/output-hierarchy.ts";

/** Places the devices in the input root's /dev, replacing what it has under their names. */
export async function createDeviceNodes(
  inputRoot: ActionFolder,
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
