import { closeSync, constants, openSync, writeSync } from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError, blobFailure } from "../../reapi/blob-error.ts";
import { type Digest, digestFunctionFor } from "../../reapi/digest.ts";
import { readRange, readWhole, write } from "./byte-stream.ts";
import { batchRead, batchUpdate, findMissing } from "./content-addressable-storage.ts";
import { fromPortable, portableError, toPortable } from "./portable.ts";
import { SYSTEM_CLOCK } from "./retry.ts";
import { ServerConnection } from "./server-connection.ts";
import type {
  Destined,
  TransferContext,
  TransferResults,
  TransferSettings,
  TransferTask,
} from "./transfer-task.ts";
import { piecesOf } from "./upload-source.ts";
import { verifyContent, verifyHash } from "./verify.ts";

export interface TaskRunner {
  /** Rejects with {@link BlobError}. */
  run<T extends TransferTask>(task: T, context?: TransferContext): Promise<TransferResults[T["kind"]]>;
  close(): void;
}

/** Runs tasks in this thread, with its own connections to the servers. */
export function createTaskRunner(settings: TransferSettings): TaskRunner {
  const connections: (ServerConnection | undefined)[] = [];
  const closing = new AbortController();
  const connection = (server: number) =>
    (connections[server] ??= new ServerConnection(
      settings.servers[server]!,
      settings.retryPolicy,
      SYSTEM_CLOCK,
    ));

  const handlers: {
    readonly [K in TransferTask["kind"]]: (
      task: TransferTask & { kind: K },
      context: TransferContext,
    ) => Promise<TransferResults[K]>;
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
      // A copy, as what is handed over is gone from here.
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
        const hash = digest.function.createHash(digest.sizeBytes);
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

    async upload({ server, digest: portable }, { source, signal }) {
      const digest = fromPortable(portable);
      await write(connection(server), digest, source!, signal).catch(named(digest));
      return undefined;
    },

    async hash({ function: value, hashLength, sizeBytes }, { source, signal }) {
      const hash = digestFunctionFor(value, "0".repeat(hashLength)).createHash(sizeBytes);
      for await (const piece of piecesOf(source!, 0, sizeBytes, HASH_PIECE_BYTES)) {
        signal?.throwIfAborted();
        hash.update(piece);
      }
      return hash.digest("hex");
    },
  };

  return {
    async run<T extends TransferTask>(
      task: T,
      context: TransferContext = {},
    ): Promise<TransferResults[T["kind"]]> {
      const signal = context.signal ? AbortSignal.any([context.signal, closing.signal]) : closing.signal;
      try {
        // The compiler cannot see that a task goes to the handler of its own kind.
        const handler: (task: never, context: TransferContext) => Promise<unknown> = handlers[task.kind];
        return (await handler(task as never, { ...context, signal })) as TransferResults[T["kind"]];
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

/** The error that callers get once the pool is closed. */
export function closed(): BlobError {
  return new BlobError(Code.UNAVAILABLE, "the storage client is closed");
}

const HASH_PIECE_BYTES = 1024 * 1024;

/** Adds to an error the blob it is about. */
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

/**
 * False if it cannot be stored: a full disk must not keep anybody from reading. Creating a file can take longer
 * than fetching its content, so it does not block this thread.
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

/** False if that fails: the file may have been evicted meanwhile, or the disk may be full. */
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
