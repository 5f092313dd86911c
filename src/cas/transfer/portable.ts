import type { BlobError } from "../../reapi/blob-error.ts";
import { type Digest, digestFunctionFor } from "../../reapi/digest.ts";

/** A digest as plain data, which can be sent to a thread. */
export interface PortableDigest {
  readonly instanceName: string;
  /** REAPI's `DigestFunction.Value`. */
  readonly function: number;
  readonly hash: string;
  readonly sizeBytes: number;
}

/** An error as plain data. */
export interface PortableError {
  readonly code: number;
  readonly message: string;
}

/** For a thread, with the instance name by which the server knows the blob. */
export function toPortable(digest: Digest, instanceName: string): PortableDigest {
  return {
    instanceName,
    function: digest.function.value,
    hash: digest.hash,
    sizeBytes: digest.sizeBytes,
  };
}

export function fromPortable(digest: PortableDigest): Digest {
  return { ...digest, function: digestFunctionFor(digest.function, digest.hash) };
}

export function portableError({ code, message }: BlobError): PortableError {
  return { code, message };
}
