import { pipeline } from "node:stream";
import { createZstdCompress, createZstdDecompress } from "node:zlib";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Handlers } from "../../grpc/handlers.ts";
import { clientStreaming, serverStreaming, unary } from "../../grpc/handlers.ts";
import { failure } from "../../grpc/status.ts";
import type {
  ByteStream,
  QueryWriteStatusRequest,
  ReadRequest,
  ReadResponseSchema,
  WriteRequest,
} from "../../proto/gen/google/bytestream/bytestream_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { BlobError } from "../../reapi/blob-error.ts";
import { digestKey } from "../../reapi/digest.ts";
import {
  parseReadResourceName,
  parseWriteResourceName,
  type ResourceName,
} from "../../reapi/resource-name.ts";
import type { BlobStore, BlobWriter } from "./blob-store.ts";
import type { ServedBlobs } from "./served-blobs.ts";

/** The committed size of a compressed upload whose blob was already there (REAPI, ContentAddressableStorage). */
const ALREADY_THERE = -1n;

/** The service google.bytestream.ByteStream for CAS blobs, plain and compressed with zstd. */
export class ByteStreamService {
  readonly handlers: Handlers<typeof ByteStream>;
  readonly #store: BlobStore;
  readonly #served: ServedBlobs;
  readonly #interrupted: InterruptedUploads;

  constructor(store: BlobStore, served: ServedBlobs, resumableMilliseconds = 60_000) {
    this.#store = store;
    this.#served = served;
    this.#interrupted = new InterruptedUploads(resumableMilliseconds);
    this.handlers = {
      read: serverStreaming((request: ReadRequest, { signal }) => this.#read(request, signal)),
      write: clientStreaming((requests: AsyncIterable<WriteRequest>) => this.#write(requests)),
      queryWriteStatus: unary((request: QueryWriteStatusRequest) => this.#queryWriteStatus(request)),
    };
  }

  /** Drops what interrupted uploads have left. */
  async close(): Promise<void> {
    await this.#interrupted.close();
  }

  async *#read(
    { resourceName, readOffset, readLimit }: ReadRequest,
    signal: AbortSignal,
  ): AsyncGenerator<MessageInitShape<typeof ReadResponseSchema>> {
    const { digest, compressor } = parseReadResourceName(resourceName);
    if (readOffset < 0n || readLimit < 0n) {
      throw failure(Code.OUT_OF_RANGE, `offset ${readOffset} and limit ${readLimit} must not be negative`);
    }
    if (compressor === "zstd" && readLimit !== 0n) {
      throw failure(Code.INVALID_ARGUMENT, "a compressed blob is read without a limit");
    }
    const limit = readLimit === 0n ? Number.POSITIVE_INFINITY : Number(readLimit);
    const content = this.#served.stream(digest, Number(readOffset), limit, signal);
    if (compressor === "identity") {
      for await (const data of content) {
        yield { data };
      }
      return;
    }
    const compressed = createZstdCompress();
    for await (const data of pipeline(content, compressed, ignore)) {
      yield { data };
    }
  }

  async #write(requests: AsyncIterable<WriteRequest>): Promise<{ committedSize: bigint }> {
    const iterator = requests[Symbol.asyncIterator]();
    const first = await iterator.next();
    if (first.done) {
      throw failure(Code.INVALID_ARGUMENT, "the upload ended before its first message");
    }
    const { resourceName } = first.value;
    const { digest, compressor } = parseWriteResourceName(resourceName);
    if (this.#store.has(digest)) {
      return { committedSize: compressor === "zstd" ? ALREADY_THERE : BigInt(digest.sizeBytes) };
    }
    const pieces = piecesOf(first.value, iterator);
    if (compressor === "zstd") {
      return this.#writeCompressed({ digest, compressor }, first.value, pieces);
    }

    const writer = this.#interrupted.take(resourceName, first.value.writeOffset);
    return this.#writePlain(resourceName, writer ?? (await this.#store.startWrite(digest)), pieces);
  }

  async #writePlain(
    resourceName: string,
    writer: BlobWriter,
    pieces: AsyncIterable<WriteRequest>,
  ): Promise<{ committedSize: bigint }> {
    let finished = false;
    try {
      for await (const { writeOffset, data, finishWrite } of pieces) {
        requireOffset(writeOffset, writer.committedSize);
        await writer.write(data);
        finished = finishWrite;
      }
    } catch (error) {
      if (error instanceof BlobError) {
        await writer.abort();
      } else {
        await this.#interrupted.put(resourceName, writer);
      }
      throw error;
    }
    if (!finished) {
      await this.#interrupted.put(resourceName, writer);
      return { committedSize: BigInt(writer.committedSize) };
    }
    await writer.commit();
    return { committedSize: BigInt(writer.committedSize) };
  }

  /** A compressed upload cannot be resumed: if it breaks off, nothing of it is kept. */
  async #writeCompressed(
    { digest }: ResourceName,
    { writeOffset }: WriteRequest,
    pieces: AsyncIterable<WriteRequest>,
  ): Promise<{ committedSize: bigint }> {
    requireOffset(writeOffset, 0);
    const writer = await this.#store.startWrite(digest);
    let received = 0;
    let finished = false;
    const compressed = async function* () {
      for await (const piece of pieces) {
        requireOffset(piece.writeOffset, received);
        received += piece.data.length;
        finished = piece.finishWrite;
        yield piece.data;
      }
      if (!finished) {
        throw failure(Code.INVALID_ARGUMENT, "the upload ended without finish_write");
      }
    };
    try {
      const decompressed = createZstdDecompress();
      for await (const data of pipeline(compressed(), decompressed, ignore)) {
        await writer.write(data);
      }
    } catch (error) {
      await writer.abort();
      if (isZstdError(error)) {
        throw failure(
          Code.INVALID_ARGUMENT,
          `the data of blob ${digestKey(digest)} is not zstd: ${error.message}`,
        );
      }
      throw error;
    }
    await writer.commit();
    return { committedSize: BigInt(received) };
  }

  #queryWriteStatus({ resourceName }: QueryWriteStatusRequest) {
    const { digest, compressor } = parseWriteResourceName(resourceName);
    if (this.#store.has(digest)) {
      return {
        committedSize: compressor === "zstd" ? ALREADY_THERE : BigInt(digest.sizeBytes),
        complete: true,
      };
    }
    return { committedSize: BigInt(this.#interrupted.committedSize(resourceName)), complete: false };
  }
}

/** Uploads that broke off, by resource name. They can be resumed for a while. */
class InterruptedUploads {
  readonly #uploads = new Map<string, { writer: BlobWriter; timer: NodeJS.Timeout }>();
  readonly #milliseconds: number;

  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
  }

  async put(resourceName: string, writer: BlobWriter): Promise<void> {
    const older = this.#remove(resourceName);
    const timer = setTimeout(() => {
      // What cannot be removed now is removed when the store is next opened.
      this.#remove(resourceName)?.abort().catch(ignore);
    }, this.#milliseconds).unref();
    this.#uploads.set(resourceName, { writer, timer });
    await older?.abort();
  }

  /** The upload to continue at `offset`; undefined for a new one. Throws if there is none to continue there. */
  take(resourceName: string, offset: bigint): BlobWriter | undefined {
    if (offset === 0n) {
      this.#remove(resourceName)?.abort().catch(ignore);
      return undefined;
    }
    requireOffset(offset, this.committedSize(resourceName));
    return this.#remove(resourceName);
  }

  committedSize(resourceName: string): number {
    return this.#uploads.get(resourceName)?.writer.committedSize ?? 0;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#uploads.keys()].map((name) => this.#remove(name)?.abort()));
  }

  #remove(resourceName: string): BlobWriter | undefined {
    const upload = this.#uploads.get(resourceName);
    if (!upload) {
      return undefined;
    }
    clearTimeout(upload.timer);
    this.#uploads.delete(resourceName);
    return upload.writer;
  }
}

function ignore(): void {}

/** All requests of an upload, up to the one that finishes it. Only the first needs a resource name. */
async function* piecesOf(
  first: WriteRequest,
  others: AsyncIterator<WriteRequest>,
): AsyncGenerator<WriteRequest> {
  for (let next: IteratorResult<WriteRequest> = { done: false, value: first }; !next.done; ) {
    const { resourceName } = next.value;
    if (resourceName !== "" && resourceName !== first.resourceName) {
      throw failure(Code.INVALID_ARGUMENT, "the resource name changed in the middle of an upload");
    }
    yield next.value;
    if (next.value.finishWrite) {
      return;
    }
    next = await others.next();
  }
}

function requireOffset(offset: bigint, expected: number): void {
  if (offset !== BigInt(expected)) {
    throw failure(
      Code.INVALID_ARGUMENT,
      `write_offset is ${offset}, but ${expected} bytes of the upload are here`,
    );
  }
}

/** Their codes are ZSTD_… for data that is no zstd, and Z_BUF_ERROR for data that ends early. */
function isZstdError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && /^(ZSTD_|Z_)/.test(String(error.code));
}
