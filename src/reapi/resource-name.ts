import { type Digest, InvalidDigestError } from "./digest.ts";

export type Compressor = "identity" | "zstd";

/** Functions whose hash length tells them apart, which resource names therefore leave out. */
const UNNAMED_FUNCTIONS = new Set(["md5", "murmur3", "sha1", "sha256", "sha384", "sha512", "vso"]);

/** ByteStream resource to read: `[INSTANCE/]blobs/[FUNCTION/]HASH/SIZE`, or `compressed-blobs/zstd` for `blobs`. */
export function readResourceName(digest: Digest, compressor: Compressor): string {
  return `${instancePrefix(digest.instanceName)}${blobPath(digest, compressor)}`;
}

/** ByteStream resource to write. `uuid` tells concurrent uploads of the same blob apart. */
export function writeResourceName(digest: Digest, compressor: Compressor, uuid: string): string {
  return `${instancePrefix(digest.instanceName)}uploads/${uuid}/${blobPath(digest, compressor)}`;
}

/** How REAPI's PreconditionFailure names a missing blob: `blobs/[FUNCTION/]HASH/SIZE`. */
export function missingBlobSubject(digest: Digest): string {
  return blobPath(digest, "identity");
}

const RESERVED_SEGMENTS = new Set([
  "blobs",
  "uploads",
  "actions",
  "actionResults",
  "operations",
  "capabilities",
  "compressed-blobs",
]);

/**
 * Throws {@link InvalidDigestError} for an instance name that could not be told from the rest of a resource
 * name.
 */
export function checkInstanceName(instanceName: string): void {
  if (instanceName === "") {
    return;
  }
  for (const segment of instanceName.split("/")) {
    if (segment === "" || RESERVED_SEGMENTS.has(segment)) {
      throw new InvalidDigestError(
        `instance name ${JSON.stringify(instanceName)} has the path segment ${JSON.stringify(segment)}, ` +
          "which REAPI does not allow",
      );
    }
  }
}

function instancePrefix(instanceName: string): string {
  return instanceName === "" ? "" : `${instanceName}/`;
}

function blobPath({ function: { name }, hash, sizeBytes }: Digest, compressor: Compressor): string {
  const root = compressor === "identity" ? "blobs" : `compressed-blobs/${compressor}`;
  return UNNAMED_FUNCTIONS.has(name)
    ? `${root}/${hash}/${sizeBytes}`
    : `${root}/${name}/${hash}/${sizeBytes}`;
}
