import {
  type Digest,
  digestFunctionFor,
  digestFunctionNamed,
  InvalidDigestError,
  makeDigest,
} from "./digest.ts";

export type Compressor = "identity" | "zstd";

/** What a ByteStream resource name says (REAPI, ContentAddressableStorage). */
export interface ResourceName {
  readonly digest: Digest;
  readonly compressor: Compressor;
}

/**
 * Digest functions that resource names leave out, as the length of the hash tells (REAPI,
 * ContentAddressableStorage).
 */
const UNNAMED_FUNCTIONS = new Set(["md5", "murmur3", "sha1", "sha256", "sha384", "sha512", "vso"]);

/** Words of resource names, which no segment of an instance name may be (REAPI, ContentAddressableStorage). */
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
 * The ByteStream resource to read: `[INSTANCE/]blobs/[FUNCTION/]HASH/SIZE`, or `compressed-blobs/zstd` for
 * `blobs`.
 */
export function readResourceName(digest: Digest, compressor: Compressor): string {
  return `${instancePrefix(digest.instanceName)}${blobPath(digest, compressor)}`;
}

/** The ByteStream resource to write. `uuid` tells concurrent uploads of the same blob apart. */
export function writeResourceName(digest: Digest, compressor: Compressor, uuid: string): string {
  return `${instancePrefix(digest.instanceName)}uploads/${uuid}/${blobPath(digest, compressor)}`;
}

/**
 * Reads the name of a ByteStream resource to read.
 *
 * @throws InvalidDigestError
 */
export function parseReadResourceName(name: string): ResourceName {
  const segments = name.split("/");
  const keyword = segments.findIndex((segment) => segment === "blobs" || segment === "compressed-blobs");
  const parsed = keyword < 0 ? undefined : parse(segments.slice(0, keyword), segments.slice(keyword));
  if (parsed === undefined || parsed.rest.length > 0) {
    throw new InvalidDigestError(
      `resource name ${quote(name)} is not [INSTANCE/]blobs/[FUNCTION/]HASH/SIZE ` +
        "or [INSTANCE/]compressed-blobs/zstd/[FUNCTION/]HASH/SIZE",
    );
  }
  return parsed.resource;
}

/**
 * Reads the name of a ByteStream resource to write, which may go on with anything after the size.
 *
 * @throws InvalidDigestError
 */
export function parseWriteResourceName(name: string): ResourceName {
  const segments = name.split("/");
  const uploads = segments.indexOf("uploads");
  const parsed = uploads < 0 ? undefined : parse(segments.slice(0, uploads), segments.slice(uploads + 2));
  if (parsed === undefined) {
    throw new InvalidDigestError(
      `resource name ${quote(name)} is not [INSTANCE/]uploads/UUID/blobs/[FUNCTION/]HASH/SIZE ` +
        "or [INSTANCE/]uploads/UUID/compressed-blobs/zstd/[FUNCTION/]HASH/SIZE",
    );
  }
  return parsed.resource;
}

/** How REAPI's PreconditionFailure names a missing blob: `blobs/[FUNCTION/]HASH/SIZE`. */
export function missingBlobSubject(digest: Digest): string {
  return blobPath(digest, "identity");
}

/**
 * Throws {@link InvalidDigestError} for an instance name that could not be told from the rest of a resource name.
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

/** The instance name that a prefix and what follows it make; either may be empty. */
export function joinInstanceNames(prefix: string, rest: string): string {
  return prefix === "" || rest === "" ? prefix + rest : `${prefix}/${rest}`;
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

/** Reads what {@link blobPath} writes, and gives the segments that follow; undefined for anything else. */
function parse(
  instance: readonly string[],
  blob: readonly string[],
): { readonly resource: ResourceName; readonly rest: readonly string[] } | undefined {
  const [keyword, ...path] = blob;
  let compressor: Compressor = "identity";
  if (keyword === "compressed-blobs") {
    if (path.shift() !== "zstd") {
      return undefined;
    }
    compressor = "zstd";
  } else if (keyword !== "blobs") {
    return undefined;
  }
  const named = digestFunctionNamed(path[0]);
  const [hash, size, ...rest] = named === undefined ? path : path.slice(1);
  if (hash === undefined || size === undefined || !/^(0|[1-9]\d{0,15})$/.test(size)) {
    return undefined;
  }
  const instanceName = instance.join("/");
  checkInstanceName(instanceName);
  const digest = makeDigest(instanceName, named ?? digestFunctionFor(0, hash), hash, Number(size));
  return { resource: { digest, compressor }, rest };
}

function quote(name: string): string {
  return JSON.stringify(name.length > 300 ? `${name.slice(0, 300)}…` : name);
}
