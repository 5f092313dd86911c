import { randomUUID } from "node:crypto";
import { pipeline, Readable } from "node:stream";
import { createZstdCompress, zstdCompressSync } from "node:zlib";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError, BlobError } from "../../reapi/blob-error.ts";
import type { Digest } from "../../reapi/digest.ts";
import { type Compressor, readResourceName, writeResourceName } from "../../reapi/resource-name.ts";
import type { Attempt } from "./retry.ts";
import type { ServerConnection } from "./server-connection.ts";
import { piecesOf, type RandomAccess } from "./upload-source.ts";
import { decompress, wrongSize } from "./verify.ts";

/** How much goes into one WriteRequest: a quarter of what gRPC servers take by default. */
const WRITE_PIECE_BYTES = 1024 * 1024;
/** A blob is worth compressing if its beginning is. */
const SAMPLE_BYTES = 64 * 1024;
const WORTHWHILE_RATIO = 0.9;
const SMALLEST_COMPRESSED = 1024;

/**
 * Reads `length` bytes from `offset` on and hands them to `take` in order, as they come, unverified. A broken
 * stream goes on where it broke. Rejects with DATA_LOSS if the server has fewer bytes, or more after what should
 * be the blob's end.
 */
export async function readRange(
  connection: ServerConnection,
  digest: Digest,
  offset: number,
  length: number,
  take: (data: Uint8Array) => void,
  signal?: AbortSignal,
): Promise<void> {
  const end = offset + length;
  const toBlobEnd = end === digest.sizeBytes;
  let position = offset;
  const read = async (attempt: Attempt): Promise<void> => {
    const limit = toBlobEnd || !connection.limitsReads ? 0 : end - position;
    const responses = connection.byteStream.read(
      {
        resourceName: readResourceName(digest, "identity"),
        readOffset: BigInt(position),
        readLimit: BigInt(limit),
      },
      { signal: attempt.signal },
    );
    try {
      for await (const { data } of responses) {
        const wanted = Math.min(data.length, end - position);
        if (wanted < data.length && toBlobEnd) {
          throw wrongSize(digest, position + data.length);
        }
        if (wanted > 0) {
          position += wanted;
          attempt.progress();
          take(wanted < data.length ? data.subarray(0, wanted) : data);
        }
        // A server that does not know limits would go on to the blob's end.
        if (position === end && !toBlobEnd) {
          return;
        }
      }
    } catch (error) {
      if (limit === 0 || asBlobError(error, "").code !== Code.UNIMPLEMENTED) {
        throw error;
      }
      connection.limitsReads = false;
      return read(attempt);
    }
    if (position < end) {
      throw wrongSize(digest, position);
    }
  };
  await connection.stream("ByteStream.Read", signal, read);
}

/**
 * Reads the whole blob into `content`, which has its size; compressed on its way if the server offers that. Of it, only
 * the size is verified.
 */
export async function readWhole(
  connection: ServerConnection,
  digest: Digest,
  content: Uint8Array,
  signal?: AbortSignal,
): Promise<void> {
  const { zstd } = await connection.capabilities(digest.instanceName);
  if (zstd && digest.sizeBytes >= SMALLEST_COMPRESSED) {
    content.set(await readCompressed(connection, digest, signal));
    return;
  }
  let length = 0;
  await readRange(
    connection,
    digest,
    0,
    digest.sizeBytes,
    (data) => {
      content.set(data, length);
      length += data.length;
    },
    signal,
  );
}

/** A stream that breaks begins anew: not every server honours an offset into a compressed blob. */
async function readCompressed(
  connection: ServerConnection,
  digest: Digest,
  signal: AbortSignal | undefined,
): Promise<Uint8Array> {
  const most = digest.sizeBytes + 1024 + digest.sizeBytes / 64;
  const compressed = await connection.stream("ByteStream.Read", signal, async (attempt) => {
    const pieces: Uint8Array[] = [];
    let length = 0;
    const responses = connection.byteStream.read(
      { resourceName: readResourceName(digest, "zstd") },
      { signal: attempt.signal },
    );
    for await (const { data } of responses) {
      attempt.alive();
      length += data.length;
      if (length > most) {
        throw wrongSize(digest, length);
      }
      pieces.push(data);
    }
    return Buffer.concat(pieces, length);
  });
  const content = decompress(digest, compressed);
  if (content.length !== digest.sizeBytes) {
    throw wrongSize(digest, content.length);
  }
  return content;
}

/**
 * Stores a blob. A broken stream goes on from what the server says it has, if it says so. Resolves early, before
 * all has been sent, if somebody else has stored the blob meanwhile.
 */
export async function write(
  connection: ServerConnection,
  digest: Digest,
  source: RandomAccess,
  signal?: AbortSignal,
): Promise<void> {
  const { zstd } = await connection.capabilities(digest.instanceName);
  const compressor = zstd && (await isWorthCompressing(digest, source)) ? "zstd" : "identity";
  const resourceName = writeResourceName(digest, compressor, randomUUID());
  let broken = false;
  await connection.stream("ByteStream.Write", signal, async (attempt) => {
    let offset = 0;
    if (broken && compressor === "identity") {
      offset = await committed(connection, resourceName, attempt);
    }
    if (offset > 0) {
      attempt.progress();
    }
    broken = true;
    const { committedSize } = await connection.byteStream.write(
      requests(resourceName, digest, source, offset, compressor, attempt),
      { signal: attempt.signal },
    );
    if (compressor === "identity" && Number(committedSize) !== digest.sizeBytes) {
      throw new BlobError(
        Code.UNAVAILABLE,
        `ByteStream.Write: the server kept ${committedSize} of ${digest.sizeBytes} bytes`,
        digest,
      );
    }
  });
}

async function committed(
  connection: ServerConnection,
  resourceName: string,
  attempt: Attempt,
): Promise<number> {
  try {
    const { committedSize, complete } = await connection.byteStream.queryWriteStatus(
      { resourceName },
      { signal: attempt.signal },
    );
    return complete ? 0 : Number(committedSize);
  } catch (error) {
    const { code } = asBlobError(error, "");
    // The server cannot tell, or has forgotten the upload: it begins anew.
    if (code === Code.UNIMPLEMENTED || code === Code.NOT_FOUND) {
      return 0;
    }
    throw error;
  }
}

async function* requests(
  resourceName: string,
  digest: Digest,
  source: RandomAccess,
  offset: number,
  compressor: Compressor,
  attempt: Attempt,
) {
  let writeOffset = offset;
  const plain = piecesOf(source, offset, digest.sizeBytes, WRITE_PIECE_BYTES);
  for await (const data of compressor === "zstd" ? compressed(plain) : plain) {
    attempt.alive();
    yield { resourceName, writeOffset: BigInt(writeOffset), data };
    writeOffset += data.length;
  }
  attempt.alive();
  yield { resourceName, writeOffset: BigInt(writeOffset), finishWrite: true };
}

function compressed(plain: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  // Whoever iterates the result sees failures.
  return pipeline(Readable.from(plain), createZstdCompress(), () => {});
}

async function isWorthCompressing(digest: Digest, source: RandomAccess): Promise<boolean> {
  if (digest.sizeBytes < SMALLEST_COMPRESSED) {
    return false;
  }
  const sample = await source.read(0, Math.min(SAMPLE_BYTES, digest.sizeBytes));
  return zstdCompressSync(sample).length < sample.length * WORTHWHILE_RATIO;
}
