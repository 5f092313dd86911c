import { closeSync, constants, openSync, writeSync } from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { status as Status } from "@grpc/grpc-js";
import { BlobError } from "../../reapi/blob-error.ts";
import type { Digest } from "../../reapi/digest.ts";
import { digestFunctionFor } from "../../reapi/digest.ts";
import { fromPortable, type PortableDigest, toPortable } from "../../reapi/wire-digest.ts";
import type { BlobServer } from "../backend.ts";
import { batchRead, batchUpdate, findMissing } from "./batches.ts";
import { type RandomAccess, readRange, readWhole, write } from "./byte-stream.ts";
import { asBlobError, type RetryPolicy, SYSTEM_CLOCK } from "./retry.ts";
import { ServerConnection } from "./server-connection.ts";
import { blobFailure, verifyContent, verifyHash } from "./verify.ts";

/** What a thread of the fetch pool needs to know. Plain data. */
export interface FetchSettings {
  readonly servers: readonly BlobServer[];
  readonly retryPolicy: RetryPolicy;
}

/** Work for the fetch pool. `server` is an index in {@link FetchSettings.servers}. Plain data. */
export type FetchTask =
  /** Begins to connect to all servers, which no other task waits for. */
  | { readonly kind: "connect" }
  /**
   * Blobs of one instance, `together` in one message if they are small. They are handed over when they are there,
   * and the task ends when they are stored, too.
   */
  | {
      readonly kind: "fetchBlobs";
      readonly server: number;
      readonly together: boolean;
      readonly blobs: readonly Destined[];
    }
  /** Part of a blob, in chunks that are handed over one by one. */
  | {
      readonly kind: "fetchRange";
      readonly server: number;
      readonly digest: PortableDigest;
      /** Multiple of `chunkSizeBytes`. */
      readonly offset: number;
      readonly length: number;
      readonly chunkSizeBytes: number;
      /** An existing file, of which the range is overwritten. */
      readonly path: string;
    }
  /** Moves a file to its place if its content is what the digest names. */
  | {
      readonly kind: "verifyFile";
      readonly digest: PortableDigest;
      readonly path: string;
      readonly destination: string;
    }
  | { readonly kind: "findMissing"; readonly server: number; readonly digests: readonly PortableDigest[] }
  | {
      readonly kind: "uploadBatch";
      readonly server: number;
      readonly blobs: readonly { readonly digest: PortableDigest; readonly content: Uint8Array }[];
    }
  /** The content is the context's. */
  | { readonly kind: "upload"; readonly server: number; readonly digest: PortableDigest }
  /** Likewise. */
  | {
      readonly kind: "hash";
      readonly function: number;
      readonly hashLength: number;
      readonly sizeBytes: number;
    };

/** A blob, and the file that is to hold it, with a name beside it to write it under until it is complete. */
export interface Destined {
  readonly digest: PortableDigest;
  readonly temporaryPath: string;
  readonly path: string;
}

/** A blob that was fetched and verified, or why it was not. */
export type Fetched = Uint8Array<ArrayBuffer> | PortableError;

/** An error as plain data. */
export interface PortableError {
  readonly code: number;
  readonly message: string;
}

export interface FetchResults {
  connect: undefined;
  /** For each blob, whether it is in its file. */
  fetchBlobs: readonly boolean[];
  fetchRange: undefined;
  verifyFile: undefined;
  findMissing: readonly PortableDigest[];
  uploadBatch: readonly (PortableError | undefined)[];
  upload: undefined;
  hash: string;
}

/** What a task has from its caller beside data. */
export interface FetchContext {
  readonly signal?: AbortSignal | undefined;
  readonly content?: RandomAccess | undefined;
  /** Takes the blobs of a fetchBlobs, in their order. */
  readonly blobs?: ((blobs: readonly Fetched[]) => void) | undefined;
  /** Takes chunks of a fetchRange; `stored` says whether the chunk is in the file, too. */
  readonly chunk?: ((index: number, content: Uint8Array<ArrayBuffer>, stored: boolean) => void) | undefined;
}

export interface FetchRunner {
  /** Rejects with {@link BlobError}. */
  run<T extends FetchTask>(task: T, context?: FetchContext): Promise<FetchResults[T["kind"]]>;
  close(): void;
}

/** Runs the tasks in this thread, with connections of its own to the servers. */
export function createFetchRunner(settings: FetchSettings): FetchRunner {
  const connections: (ServerConnection | undefined)[] = [];
  const closing = new AbortController();
  const connection = (server: number) =>
    (connections[server] ??= new ServerConnection(
      settings.servers[server]!,
      settings.retryPolicy,
      SYSTEM_CLOCK,
    ));

  const handlers: {
    readonly [K in FetchTask["kind"]]: (
      task: FetchTask & { kind: K },
      context: FetchContext,
    ) => Promise<FetchResults[K]>;
  } = {
    async connect() {
      for (const server of settings.servers.keys()) {
        connection(server).open();
      }
      return undefined;
    },

    async fetchBlobs({ server, together, blobs }, { signal, blobs: deliver }) {
      const digests = blobs.map(({ digest }) => fromPortable(digest));
      const contents = together
        ? await batchRead(connection(server), digests, signal)
        : await Promise.all(digests.map((digest) => readVerified(connection(server), digest, signal)));
      // What is handed over is gone from here, so it is a copy.
      deliver?.(
        contents.map((content) =>
          content instanceof BlobError ? portableError(content) : new Uint8Array(content),
        ),
      );
      const stored: boolean[] = [];
      for (const [index, content] of contents.entries()) {
        stored.push(!(content instanceof BlobError) && (await store(blobs[index]!, content)));
      }
      return stored;
    },

    async fetchRange({ server, digest: portable, offset, length, chunkSizeBytes, path }, { signal, chunk }) {
      const digest = fromPortable(portable);
      const end = offset + length;
      let start = offset;
      let content = Buffer.allocUnsafeSlow(Math.min(chunkSizeBytes, end - start));
      let filled = 0;
      const take = (data: Uint8Array) => {
        while (data.length > 0) {
          const part = data.subarray(0, content.length - filled);
          content.set(part, filled);
          filled += part.length;
          data = data.subarray(part.length);
          if (filled === content.length) {
            chunk?.(start / chunkSizeBytes, content, overwrite(path, start, content));
            start += filled;
            filled = 0;
            content = Buffer.allocUnsafeSlow(Math.min(chunkSizeBytes, end - start));
          }
        }
      };
      await readRange(connection(server), digest, offset, length, take, signal).catch(named(digest));
    },

    async verifyFile({ digest: portable, path, destination }) {
      const digest = fromPortable(portable);
      const file = await open(path);
      try {
        const hash = digest.function.createHash();
        const buffer = Buffer.allocUnsafe(Math.min(1024 * 1024, digest.sizeBytes));
        for (;;) {
          const { bytesRead } = await file.read(buffer, 0, buffer.length);
          if (bytesRead === 0) {
            break;
          }
          hash.update(buffer.subarray(0, bytesRead));
        }
        verifyHash(digest, hash.digest("hex"));
      } finally {
        await file.close();
      }
      if (path !== destination) {
        await rename(path, destination);
      }
      return undefined;
    },

    async findMissing({ server, digests }, { signal }) {
      const missing = await findMissing(connection(server), digests.map(fromPortable), signal);
      return missing.map((digest) => toPortable(digest, digest.instanceName));
    },

    async uploadBatch({ server, blobs }, { signal }) {
      const failures = await batchUpdate(
        connection(server),
        blobs.map(({ digest, content }) => ({ digest: fromPortable(digest), content })),
        signal,
      );
      return failures.map((failure) => failure && portableError(failure));
    },

    async upload({ server, digest: portable }, { content, signal }) {
      const digest = fromPortable(portable);
      await write(connection(server), digest, content!, signal).catch(named(digest));
      return undefined;
    },

    async hash({ function: value, hashLength, sizeBytes }, { content, signal }) {
      const hash = digestFunctionFor(value, "0".repeat(hashLength)).createHash();
      for (let offset = 0; offset < sizeBytes; ) {
        signal?.throwIfAborted();
        const data = await content!.read(offset, Math.min(HASH_PIECE_BYTES, sizeBytes - offset));
        if (data.length === 0) {
          throw new Error(`the content ends at ${offset} of ${sizeBytes} bytes`);
        }
        hash.update(data);
        offset += data.length;
      }
      return hash.digest("hex");
    },
  };

  return {
    async run<T extends FetchTask>(task: T, context: FetchContext = {}): Promise<FetchResults[T["kind"]]> {
      const signal = context.signal ? AbortSignal.any([context.signal, closing.signal]) : closing.signal;
      try {
        // That a task's handler is the one of its kind is beyond the compiler.
        const handler: (task: never, context: FetchContext) => Promise<unknown> = handlers[task.kind];
        return (await handler(task as never, { ...context, signal })) as FetchResults[T["kind"]];
      } catch (error) {
        context.signal?.throwIfAborted();
        if (closing.signal.aborted) {
          throw closed();
        }
        throw asBlobError(error, task.kind);
      }
    },
    close() {
      closing.abort();
      for (const each of connections) {
        each?.close();
      }
    },
  };
}

/** What callers get once the pool is closed. */
export function closed(): BlobError {
  return new BlobError(Status.UNAVAILABLE, "the storage client is closed");
}

const HASH_PIECE_BYTES = 1024 * 1024;

/** Completes an error with the blob it is about. */
function named(digest: Digest): (error: unknown) => never {
  return (error) => {
    throw error instanceof BlobError ? blobFailure(digest, error) : error;
  };
}

async function readVerified(
  connection: ServerConnection,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<Uint8Array | BlobError> {
  try {
    const content = await readWhole(connection, digest, signal);
    verifyContent(digest, content);
    return content;
  } catch (error) {
    return blobFailure(digest, asBlobError(error, "fetch"));
  }
}

function portableError({ code, message }: BlobError): PortableError {
  return { code, message };
}

/**
 * False if it cannot be stored: a full disk must not keep anybody from reading. Making a file can take longer than
 * fetching its content, so this thread does not wait for it.
 */
async function store({ temporaryPath, path }: Destined, content: Uint8Array): Promise<boolean> {
  try {
    await writeFile(temporaryPath, content, { flag: "wx", mode: 0o600 });
    await rename(temporaryPath, path);
    return true;
  } catch {
    await rm(temporaryPath, { force: true }).catch(() => {});
    return false;
  }
}

/** False if it is not there: the file may have been evicted meanwhile, or the disk be full. */
function overwrite(path: string, offset: number, content: Uint8Array): boolean {
  try {
    const file = openSync(path, constants.O_WRONLY);
    try {
      writeAll(file, content, offset);
    } finally {
      closeSync(file);
    }
    return true;
  } catch {
    return false;
  }
}

function writeAll(file: number, content: Uint8Array, offset: number): void {
  for (let written = 0; written < content.length; ) {
    written += writeSync(file, content, written, content.length - written, offset + written);
  }
}
