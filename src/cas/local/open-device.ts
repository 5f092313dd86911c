import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { type BlockDevice, FileDevice, MemoryDevice } from "./block-device.ts";
import {
  decodeSuperblock,
  encodeSuperblock,
  type Geometry,
  geometryOf,
  type Identity,
  newIdentity,
  SUPERBLOCK_BYTES,
} from "./layout.ts";

/** Where blocks are kept. */
export type BlocksLocation =
  /** A file, which is made if it does not exist. */
  | { readonly kind: "file"; readonly path: string; readonly sizeBytes: number }
  | { readonly kind: "device"; readonly path: string }
  | { readonly kind: "memory"; readonly blockBytes: number };

/** An open store without its entries. */
export interface OpenedDevice {
  readonly device: BlockDevice;
  readonly geometry: Geometry;
  readonly identity: Identity;
  /** Where a thread can read the blocks, too; undefined for blocks in memory. */
  readonly path: string | undefined;
}

const REFORMAT = "start bb_worker once with --reformat, which empties it";

/**
 * Opens what an earlier run left, or makes it. What is not such a store is overwritten only where `reformat` says so;
 * the contents of one are given up where `keepContents` does not hold.
 *
 * Throws an Error that names the path, and says what to do.
 */
export function openDevice(
  location: BlocksLocation,
  blockCount: number,
  options: { readonly reformat: boolean; readonly keepContents: boolean },
): OpenedDevice {
  if (location.kind === "memory") {
    const geometry = { blockBytes: location.blockBytes, blockCount };
    return {
      device: new MemoryDevice(SUPERBLOCK_BYTES, location.blockBytes),
      geometry,
      identity: newIdentity(),
      path: undefined,
    };
  }
  const device = openFile(location);
  try {
    const sizeBytes = location.kind === "file" ? location.sizeBytes : device.deviceBytes();
    const geometry = geometryOf(sizeBytes, blockCount);
    if (geometry.blockBytes === 0) {
      throw new Error(
        `${location.path}: ${sizeBytes} bytes are too few for ${blockCount} blocks; ` +
          `give at least ${SUPERBLOCK_BYTES * (blockCount + 1)}, or fewer blocks`,
      );
    }
    const identity = options.reformat
      ? undefined
      : existing(device, location, geometry, options.keepContents);
    return {
      device,
      geometry,
      path: location.path,
      identity: identity ?? format(device, location, geometry),
    };
  } catch (error) {
    device.close();
    throw error;
  }
}

function openFile({ kind, path }: BlocksLocation & { readonly path: string }): FileDevice {
  let device: FileDevice;
  try {
    if (kind === "file") {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    }
    device = FileDevice.open(path, kind === "device");
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    throw code === "EISDIR"
      ? new Error(
          `${path} is a folder, but blobs are kept in one file. If it is the cache of an earlier version, ` +
            "which had a file for each blob, remove it; else give another path",
        )
      : code === undefined
        ? error
        : new Error(`the blob store ${path} cannot be opened: ${message}`, { cause: error });
  }
  const status = device.status();
  if (kind === "device" ? status.isBlockDevice() : status.isFile()) {
    return device;
  }
  device.close();
  throw new Error(
    kind === "device"
      ? `${path} is not a block device; give file, with a path and sizeBytes`
      : `${path} is not a regular file; for a block device give devicePath`,
  );
}

/** The identity of the store that is there; undefined if one has to be made. */
function existing(
  device: FileDevice,
  location: BlocksLocation & { readonly path: string },
  geometry: Geometry,
  keepContents: boolean,
): Identity | undefined {
  const { path } = location;
  const { size, blocks } = device.status();
  const isFile = location.kind === "file";
  // A file without a single byte that was written: just made, by us or by somebody else.
  if (isFile && (size === 0 || blocks === 0)) {
    return undefined;
  }
  const head = Buffer.alloc(isFile ? Math.min(size, SUPERBLOCK_BYTES) : SUPERBLOCK_BYTES);
  device.readSync(head, 0);
  const found = decodeSuperblock(head);
  if (found === undefined) {
    throw new Error(
      `${path} has contents that are not this worker's: Buildbarn's own blobs, perhaps, which it cannot use. ` +
        `Give another path, or ${REFORMAT}`,
    );
  }
  if (!keepContents) {
    return undefined;
  }
  if (found === "another version") {
    throw new Error(`${path} was made by another version of bb_worker. Give another path, or ${REFORMAT}`);
  }
  if (isFile && size !== location.sizeBytes) {
    throw new Error(
      `${path} has ${size} bytes, but is configured to have ${location.sizeBytes}. Give that size, or ${REFORMAT}`,
    );
  }
  const { blockBytes, blockCount } = found.geometry;
  if (blockBytes !== geometry.blockBytes || blockCount !== geometry.blockCount) {
    throw new Error(
      `${path} was made with ${blockCount} blocks of ${blockBytes} bytes, but is configured to have ` +
        `${geometry.blockCount} of ${geometry.blockBytes}. Give the numbers of blocks that it was made with, or ${REFORMAT}`,
    );
  }
  return found.identity;
}

function format(device: FileDevice, location: BlocksLocation, geometry: Geometry): Identity {
  const identity = newIdentity();
  if (location.kind === "file") {
    device.clear(location.sizeBytes);
  }
  device.writeSync([encodeSuperblock(identity, geometry)], 0);
  return identity;
}
