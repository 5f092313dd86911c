import { geometryOf } from "../../cas/local/layout.ts";
import type { LocalStoreOptions } from "../../cas/local/options.ts";
import type {
  LocalBlobAccessConfiguration,
  LocalBlobAccessConfiguration_BlocksOnBlockDevice,
  LocalBlobAccessConfiguration_Persistent,
} from "../../proto/gen/buildbarn/configuration/blobstore/blobstore_pb.ts";
import type { ExistenceCacheConfiguration } from "../../proto/gen/buildbarn/configuration/digest/digest_pb.ts";
import { blockDeviceSettings } from "../block-device.ts";
import { positiveMilliseconds } from "../duration.ts";
import { ConfigurationError } from "../error.ts";
import { type FieldPath, unsupported } from "../field-path.ts";
import { refuse } from "../refuse.ts";
import { pathOf, positive } from "../values.ts";

/** As Buildbarn's. */
const MAXIMUM_BLOCKS = 100;
/** Smaller ones would be mostly what does not fit into them any more. */
const SMALLEST_BLOCK_BYTES = 64 * 1024;
/** What an entry takes in Buildbarn's key-location map on a block device. */
const BUILDBARN_RECORD_BYTES = 66;
/** Of a map whose place is a device; it takes memory only for the entries that there are. */
const LARGEST_MAP = 100_000_000;
/** The map's attempts are counted in a byte. */
const MAXIMUM_GET_ATTEMPTS = 255;

/** What Buildbarn recommends for content-addressable storage. */
const DEFAULT_SIZES = { oldBlocks: 8, currentBlocks: 24, newBlocks: 3, spareBlocks: 3 };
const DEFAULT_ATTEMPTS = { maximumGetAttempts: 16, maximumPutAttempts: 64 };
/** What a blob or chunk takes at least, on average, for there to be room for all in the map. */
const DEFAULT_BYTES_PER_ENTRY = 8192;
const SMALL_STORE_BLOCK_BYTES = 4 * 1024 * 1024;
const SMALL_STORE_ENTRIES = 10_000;
const DEFAULT_EPOCH_MILLISECONDS = 300_000;
const DEFAULT_TRUST_MILLISECONDS = 4 * 3_600_000;

/** The blob cache of a configuration that does not say where it is: a file of that size, with its state beside it. */
export function defaultLocalStore(path: string, sizeBytes: number): LocalStoreOptions {
  return {
    ...DEFAULT_SIZES,
    blocks: { kind: "file", path, sizeBytes },
    keyLocationMap: {
      ...DEFAULT_ATTEMPTS,
      maximumEntries: Math.max(1, Math.floor(sizeBytes / DEFAULT_BYTES_PER_ENTRY)),
    },
    persistent: {
      stateDirectoryPath: `${path}.state`,
      minimumEpochIntervalMilliseconds: DEFAULT_EPOCH_MILLISECONDS,
    },
    trustMilliseconds: DEFAULT_TRUST_MILLISECONDS,
    hierarchicalInstanceNames: false,
  };
}

/** In memory, for little more than what is on its way. */
export function smallMemoryStore(): LocalStoreOptions {
  return {
    oldBlocks: 1,
    currentBlocks: 2,
    newBlocks: 1,
    spareBlocks: 1,
    blocks: { kind: "memory", blockBytes: SMALL_STORE_BLOCK_BYTES },
    keyLocationMap: { ...DEFAULT_ATTEMPTS, maximumEntries: SMALL_STORE_ENTRIES },
    persistent: undefined,
    trustMilliseconds: Number.POSITIVE_INFINITY,
    hierarchicalInstanceNames: false,
  };
}

/** Throws {@link ConfigurationError}. `path` is where the configuration stands, for messages. */
export function localStoreSettings(
  configuration: LocalBlobAccessConfiguration,
  path: FieldPath,
): LocalStoreOptions {
  const {
    keyLocationMapBackend,
    keyLocationMapMaximumGetAttempts,
    keyLocationMapMaximumPutAttempts,
    oldBlocks,
    currentBlocks,
    newBlocks,
    blocksBackend,
    persistent,
    hierarchicalInstanceNames,
    ...rest
  } = configuration;
  refuse(rest, path);
  const sizes = {
    oldBlocks: blockCount(oldBlocks, path.field("oldBlocks")),
    currentBlocks: blockCount(currentBlocks, path.field("currentBlocks")),
    newBlocks: blockCount(newBlocks, path.field("newBlocks")),
  };
  if (sizes.newBlocks === 0) {
    throw new ConfigurationError(`${path}.newBlocks is 0: give at least 1; 3 is recommended`);
  }
  if (persistent !== undefined && blocksBackend.case === "blocksInMemory") {
    throw unsupported(
      path.field("persistent"),
      "blocksInMemory survive nothing; give blocksOnBlockDevice, or remove it",
    );
  }
  return {
    ...sizes,
    ...blocksSettings(blocksBackend, sizes.oldBlocks + sizes.currentBlocks + sizes.newBlocks, path),
    keyLocationMap: {
      maximumEntries: mapEntries(keyLocationMapBackend, path),
      maximumGetAttempts: Math.min(
        MAXIMUM_GET_ATTEMPTS,
        positive(BigInt(keyLocationMapMaximumGetAttempts), path.field("keyLocationMapMaximumGetAttempts")),
      ),
      maximumPutAttempts: positive(
        keyLocationMapMaximumPutAttempts,
        path.field("keyLocationMapMaximumPutAttempts"),
      ),
    },
    persistent: persistent && persistence(persistent, path.field("persistent")),
    hierarchicalInstanceNames,
  };
}

function blockCount(value: number, path: FieldPath): number {
  if (value < 0) {
    throw new ConfigurationError(`${path} is ${value}: give 0 or more`);
  }
  return value;
}

function blocksSettings(
  backend: LocalBlobAccessConfiguration["blocksBackend"],
  ringBlocks: number,
  path: FieldPath,
): Pick<LocalStoreOptions, "blocks" | "spareBlocks" | "trustMilliseconds"> {
  switch (backend.case) {
    case "blocksInMemory": {
      const { blockSizeBytes, ...rest } = backend.value;
      refuse(rest, path.field("blocksInMemory"));
      const blockBytes = positive(blockSizeBytes, path.field("blocksInMemory.blockSizeBytes"));
      if (blockBytes < SMALLEST_BLOCK_BYTES) {
        throw new ConfigurationError(
          `${path}.blocksInMemory.blockSizeBytes is ${blockBytes}: give at least ${SMALLEST_BLOCK_BYTES}`,
        );
      }
      return {
        blocks: { kind: "memory", blockBytes: blockBytes - (blockBytes % 16) },
        // One that is being read when it must go does not hold up the others.
        spareBlocks: 1,
        // Memory is not checked again and again.
        trustMilliseconds: Number.POSITIVE_INFINITY,
      };
    }
    case "blocksOnBlockDevice":
      return blocksOnDevice(backend.value, ringBlocks, path.field("blocksOnBlockDevice"));
    case undefined:
      throw new ConfigurationError(`${path}.blocksOnBlockDevice is missing: give it, or blocksInMemory`);
  }
}

function blocksOnDevice(
  {
    source,
    spareBlocks,
    dataIntegrityValidationCache,
    ...rest
  }: LocalBlobAccessConfiguration_BlocksOnBlockDevice,
  ringBlocks: number,
  path: FieldPath,
): Pick<LocalStoreOptions, "blocks" | "spareBlocks" | "trustMilliseconds"> {
  refuse(rest, path);
  const spare = blockCount(spareBlocks, path.field("spareBlocks"));
  const total = ringBlocks + spare;
  if (total < 2 || total > MAXIMUM_BLOCKS) {
    throw new ConfigurationError(
      `${path}: oldBlocks, currentBlocks, newBlocks and spareBlocks are ${total} together: give 2 to ${MAXIMUM_BLOCKS}`,
    );
  }
  const { path: place, maximumSizeBytes: sizeBytes } = blockDeviceSettings(source, path.field("source"));
  if (sizeBytes !== undefined && geometryOf(sizeBytes, total).blockBytes < SMALLEST_BLOCK_BYTES) {
    throw new ConfigurationError(
      `${path}.source.file.sizeBytes is ${sizeBytes}, too little for ${total} blocks: ` +
        `give at least ${SMALLEST_BLOCK_BYTES * (total + 1)}`,
    );
  }
  return {
    blocks:
      sizeBytes === undefined ? { kind: "device", path: place } : { kind: "file", path: place, sizeBytes },
    spareBlocks: spare,
    trustMilliseconds: trust(dataIntegrityValidationCache, path.field("dataIntegrityValidationCache")),
  };
}

/** The cache's size limits nothing here: whether an entry is trusted is noted with its location. */
function trust(configuration: ExistenceCacheConfiguration | undefined, path: FieldPath): number {
  if (configuration === undefined) {
    return 0;
  }
  const { cacheSize, cacheDuration } = configuration;
  positive(cacheSize, path.field("cacheSize"));
  return positiveMilliseconds(cacheDuration, path.field("cacheDuration"));
}

/** The map is in memory in any case; a place for it on a disk says how large it may become. */
function mapEntries(backend: LocalBlobAccessConfiguration["keyLocationMapBackend"], path: FieldPath): number {
  switch (backend.case) {
    case "keyLocationMapInMemory": {
      const { entries, ...rest } = backend.value;
      refuse(rest, path.field("keyLocationMapInMemory"));
      return positive(entries, path.field("keyLocationMapInMemory.entries"));
    }
    case "keyLocationMapOnBlockDevice": {
      const place = blockDeviceSettings(backend.value, path.field("keyLocationMapOnBlockDevice"));
      return place.maximumSizeBytes === undefined
        ? LARGEST_MAP
        : Math.max(1, Math.floor(place.maximumSizeBytes / BUILDBARN_RECORD_BYTES));
    }
    case undefined:
      throw new ConfigurationError(
        `${path}.keyLocationMapInMemory is missing: give it, with entries, or keyLocationMapOnBlockDevice`,
      );
  }
}

function persistence(
  { stateDirectoryPath, minimumEpochInterval, ...rest }: LocalBlobAccessConfiguration_Persistent,
  path: FieldPath,
): LocalStoreOptions["persistent"] {
  refuse(rest, path);
  return {
    stateDirectoryPath: pathOf(stateDirectoryPath, path.field("stateDirectoryPath")),
    minimumEpochIntervalMilliseconds: positiveMilliseconds(
      minimumEpochInterval,
      path.field("minimumEpochInterval"),
    ),
  };
}
