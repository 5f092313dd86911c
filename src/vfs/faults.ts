import { FileSystemError, FileSystemStatus } from "../nfs/file-system.ts";
import { BlobError } from "../reapi/blob-error.ts";
import type { Digest } from "../reapi/digest.ts";
import type { QuotaExceededError } from "./quota.ts";

/** The file pool failed to write or to read back. The action sees EIO, or ENOSPC. */
export class FilePoolError extends Error {
  override readonly name = "FilePoolError";
}

/**
 * Why an action saw an error that its command alone does not explain: an input that could not be read
 * ({@link BlobError}, whose `code` distinguishes a missing blob from a broken connection), its quota, or the worker's
 * own storage.
 */
export type Fault = BlobError | QuotaExceededError | FilePoolError;

/** Faults with the same key count as one for whoever is told. */
export function faultKey(fault: Fault): string {
  return fault instanceof BlobError
    ? `${fault.code} ${fault.digest?.hash ?? fault.message}`
    : `${fault.name} ${fault.message}`;
}

/** What an input source threw, as a BlobError. */
export function toBlobError(error: unknown, digest: Digest): BlobError {
  if (error instanceof BlobError) {
    return error;
  }
  const message = error instanceof Error ? error.message : String(error);
  return new BlobError(
    13,
    `blob ${digest.hash} of ${digest.sizeBytes} bytes could not be read: ${message}`,
    digest,
    { cause: error },
  );
}

/**
 * What the file pool threw, as the action sees it (`status`) and as whoever runs it does (`fault`). Without a fault,
 * the action asked for something that no worker offers.
 */
export function toFilePoolFault(error: unknown): { fault?: FilePoolError; status: FileSystemError } {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === "EFBIG") {
    return { status: new FileSystemError(FileSystemStatus.FBIG) };
  }
  const full = code === "ENOSPC" || code === "EDQUOT" || code === "EMFILE";
  return {
    fault: new FilePoolError(
      full ? `the worker's file pool is full: ${message}` : `the worker's file pool failed: ${message}`,
      { cause: error },
    ),
    status: new FileSystemError(full ? FileSystemStatus.NOSPC : FileSystemStatus.IO),
  };
}
