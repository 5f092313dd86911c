import { open } from "node:fs/promises";
import { CallCounts } from "../../grpc/calls/counts.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError, blobFailure } from "../../reapi/blob-error.ts";
import {
  DIGEST_FUNCTIONS_READY,
  type Digest,
  digestFunctionFor,
  type IncrementalHash,
  SHA256,
} from "../../reapi/digest.ts";
import {
  CHECK_BYTES,
  checkOf,
  contentOf,
  type Frame,
  frameCheck,
  HASHED_BYTES,
  type Identity,
  newFrame,
  newFrames,
  setCheck,
} from "../local/layout.ts";
import { readRange, readWhole, write } from "./byte-stream.ts";
import { ChunkCutter } from "./chunk-cutter.ts";
import { batchRead, batchUpdate, findMissing } from "./content-addressable-storage.ts";
import { fromPortable, portableError, toPortable } from "./portable.ts";
import { SYSTEM_CLOCK } from "./retry.ts";
import { RunningHashes } from "./running-hashes.ts";
import { ServerConnection } from "./server-connection.ts";
import type { TransferContext, TransferResults, TransferSettings, TransferTask } from "./transfer-task.ts";
import { piecesOf } from "./upload-source.ts";
import { verifyContent, verifyHash } from "./verify.ts";

export interface TaskRunner {
  /** Rejects with {@link BlobError}. */
  run<T extends TransferTask>(task: T, context?: TransferContext): Promise<TransferResults[T["kind"]]>;
  close(): void;
}

/** Runs tasks in this thread, with its own connections to the servers. */
export function createTaskRunner(settings: TransferSettings): TaskRunner {
  const { storeIdentity } = settings;
  const hashes = new RunningHashes();
  const connections: (ServerConnection | undefined)[] = [];
  const closing = new AbortController();
  const callCounts = settings.callCounts && new CallCounts(settings.callCounts);
  const connection = (server: number) =>
    (connections[server] ??= new ServerConnection(
      settings.servers[server]!,
      settings.retryPolicy,
      SYSTEM_CLOCK,
      callCounts,
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

    async fetchBlobs({ server, together, digests: portable }, { signal }) {
      const digests = portable.map(fromPortable);
      const frames = together
        ? framed(digests, await batchRead(connection(server), digests, signal), storeIdentity)
        : await Promise.all(
            digests.map((digest) => readFrame(connection(server), digest, storeIdentity, signal)),
          );
      return frames.map((frame) => (frame instanceof BlobError ? portableError(frame) : frame));
    },

    async fetchRange({ server, digest: portable, offset, length, chunkSizeBytes }, { signal, chunk }) {
      const digest = fromPortable(portable);
      const received = hashes.receiver(digest, chunkSizeBytes, offset);
      const cutter = new ChunkCutter(chunkSizeBytes, length, storeIdentity, (index, frame, content) => {
        received(content, frameCheck(frame));
        chunk?.(offset / chunkSizeBytes + index, frame);
      });
      const take = (data: Uint8Array) => cutter.take(data);
      await readRange(connection(server), digest, offset, length, take, signal).catch(named(digest));
      return undefined;
    },

    async verifyPieces({ digest: portable, path, chunkSizeBytes, checks, pieces }) {
      const digest = fromPortable(portable);
      const known = hashes.take(digest, chunkSizeBytes, checks);
      const hash = known?.hash ?? digest.function.createHash(digest.sizeBytes);
      await hashPieces(hash, path, pieces.slice(known?.chunks ?? 0));
      verifyHash(digest, hash.digest("hex"));
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
        await DIGEST_FUNCTIONS_READY;
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

/** Hashes pieces of a file, one after the other. */
async function hashPieces(
  hash: IncrementalHash,
  path: string,
  pieces: readonly { readonly position: number; readonly length: number }[],
): Promise<void> {
  if (pieces.length === 0) {
    return;
  }
  const file = await open(path);
  try {
    const buffer = Buffer.allocUnsafeSlow(HASH_PIECE_BYTES);
    for (const { position, length } of pieces) {
      for (let done = 0; done < length; ) {
        const wanted = Math.min(HASH_PIECE_BYTES, length - done);
        const { bytesRead } = await file.read(buffer, 0, wanted, position + done);
        if (bytesRead === 0) {
          return;
        }
        hash.update(buffer.subarray(0, bytesRead));
        done += bytesRead;
      }
    }
  } finally {
    await file.close();
  }
}

/** Adds to an error the blob it is about. */
function named(digest: Digest): (error: unknown) => never {
  return (error) => {
    throw error instanceof BlobError ? blobFailure(digest, error) : error;
  };
}

async function readFrame(
  connection: ServerConnection,
  digest: Digest,
  storeIdentity: Identity,
  signal: AbortSignal | undefined,
): Promise<Frame | BlobError> {
  try {
    const frame = newFrame(digest.sizeBytes);
    const content = contentOf(frame, digest.sizeBytes);
    await readWhole(connection, digest, content, signal);
    verifyContent(digest, content);
    setVerifiedCheck(frame, digest, content, storeIdentity);
    return frame;
  } catch (error) {
    return blobFailure(digest, asBlobError(error, "fetch"));
  }
}

/** Copies, as what is handed over is gone from here; in one buffer. */
function framed(
  digests: readonly Digest[],
  contents: readonly (Uint8Array | BlobError)[],
  storeIdentity: Identity,
): (Frame | BlobError)[] {
  const sizes = contents.map((content) => (content instanceof BlobError ? 0 : content.length));
  const frames = newFrames(sizes);
  return contents.map((content, index) => {
    if (content instanceof BlobError) {
      return content;
    }
    const frame = frames[index]!;
    contentOf(frame, content.length).set(content);
    setVerifiedCheck(frame, digests[index]!, content, storeIdentity);
    return frame;
  });
}

/** The hash of a small blob's SHA-256 digest is its check. */
function setVerifiedCheck(frame: Frame, digest: Digest, content: Uint8Array, storeIdentity: Identity): void {
  setCheck(
    frame,
    digest.function === SHA256 && content.length <= HASHED_BYTES
      ? Buffer.from(digest.hash.slice(0, 2 * CHECK_BYTES), "hex")
      : checkOf(content, storeIdentity),
  );
}
