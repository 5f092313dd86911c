import {
  type Digest,
  type DigestFunction,
  digestFunctionFor,
  InvalidDigestError,
  makeDigest,
  SHA256,
} from "../../reapi/digest.ts";

/** What a ByteStream resource name says (REAPI, ContentAddressableStorage). */
export interface ResourceName {
  readonly digest: Digest;
  readonly compressor: "identity" | "zstd";
}

const NAMED_FUNCTIONS: readonly DigestFunction[] = [SHA256];

/**
 * `[INSTANCE/]blobs/[FUNCTION/]HASH/SIZE` or `[INSTANCE/]compressed-blobs/zstd/[FUNCTION/]HASH/SIZE`.
 *
 * Throws {@link InvalidDigestError}.
 */
export function parseReadResourceName(name: string): ResourceName {
  const segments = name.split("/");
  const keyword = segments.findIndex((segment) => segment === "blobs" || segment === "compressed-blobs");
  const parsed = keyword < 0 ? undefined : parse(segments, keyword, keyword);
  if (!parsed) {
    throw new InvalidDigestError(
      `resource name ${quote(name)} is not [INSTANCE/]blobs/[FUNCTION/]HASH/SIZE ` +
        "or [INSTANCE/]compressed-blobs/zstd/[FUNCTION/]HASH/SIZE",
    );
  }
  return parsed;
}

/**
 * `[INSTANCE/]uploads/UUID/` and then as for reading, with anything after the size.
 *
 * Throws {@link InvalidDigestError}.
 */
export function parseWriteResourceName(name: string): ResourceName {
  const segments = name.split("/");
  const uploads = segments.indexOf("uploads");
  const parsed = uploads < 0 ? undefined : parse(segments, uploads, uploads + 2);
  if (!parsed) {
    throw new InvalidDigestError(
      `resource name ${quote(name)} is not [INSTANCE/]uploads/UUID/blobs/[FUNCTION/]HASH/SIZE ` +
        "or [INSTANCE/]uploads/UUID/compressed-blobs/zstd/[FUNCTION/]HASH/SIZE",
    );
  }
  return parsed;
}

/** The instance name ends at `instanceEnd`; `keyword` is where "blobs" or "compressed-blobs" must be. */
function parse(segments: string[], instanceEnd: number, keyword: number): ResourceName | undefined {
  const isUpload = instanceEnd !== keyword;
  const instanceName = segments.slice(0, instanceEnd).join("/");
  let next = keyword + 1;
  let compressor: ResourceName["compressor"] = "identity";
  if (segments[keyword] === "compressed-blobs") {
    if (segments[next++] !== "zstd") {
      return undefined;
    }
    compressor = "zstd";
  } else if (segments[keyword] !== "blobs") {
    return undefined;
  }
  const named = NAMED_FUNCTIONS.find((candidate) => candidate.name === segments[next]);
  if (named) {
    next++;
  }
  const hash = segments[next];
  const size = segments[next + 1];
  if (hash === undefined || size === undefined || !/^(0|[1-9]\d{0,15})$/.test(size)) {
    return undefined;
  }
  if (!isUpload && segments.length !== next + 2) {
    return undefined;
  }
  const digestFunction = named ?? digestFunctionFor(0, hash);
  return { digest: makeDigest(instanceName, digestFunction, hash, Number(size)), compressor };
}

function quote(name: string): string {
  return JSON.stringify(name.length > 300 ? `${name.slice(0, 300)}…` : name);
}
