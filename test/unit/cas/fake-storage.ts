import { createHash } from "node:crypto";
import { once } from "node:events";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { BYTE_STREAM_CODECS } from "../../../src/grpc/byte-stream-codecs.ts";
import { addService } from "../../../src/grpc/handlers.ts";
import {
  ActionCache,
  type ActionResult,
  Capabilities,
  Compressor_Value,
  ContentAddressableStorage,
  type Digest as DigestMessage,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../../src/proto/gen/google/bytestream/bytestream_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { type Digest, SHA256 } from "../../../src/reapi/digest.ts";

/** What is wrong with a blob, or with one read of it. */
export type Fault =
  | { readonly kind: "missing" }
  /** Ends early, without an error. */
  | { readonly kind: "short"; readonly bytes: number }
  | { readonly kind: "corrupt" }
  /** Sends this much and then nothing more. */
  | { readonly kind: "hang"; readonly bytes: number }
  /** Sends this much and then fails. */
  | { readonly kind: "break"; readonly bytes: number; readonly code: number };

export interface FakeStorageOptions {
  readonly zstd?: boolean;
  /** Answers a limited read with UNIMPLEMENTED, as Buildbarn does. */
  readonly refuseLimits?: boolean;
  readonly maximumBatchBytes?: number;
  /** In one ReadResponse. */
  readonly pieceBytes?: number;
  readonly withoutCapabilities?: boolean;
}

/** A storage server in memory, on a loopback port, that counts what it is asked for and can be made to fail. */
export class FakeStorage {
  readonly blobs = new Map<string, Uint8Array>();
  readonly actionResults = new Map<string, ActionResult>();
  /** By hash: applied to the following reads, one each; the last one stays if `stays`. */
  readonly faults = new Map<string, Fault[]>();
  /** Calls by method. */
  readonly calls = new Map<string, number>();
  /** Blobs asked for in BatchReadBlobs and ByteStream.Read, in order. */
  readonly reads: {
    readonly hash: string;
    readonly offset: number;
    readonly limit: number;
    readonly compressed: boolean;
  }[] = [];
  bytesSent = 0;
  /** By hash: how many bytes of a write are taken before the stream fails with UNAVAILABLE. */
  readonly breakWrites = new Map<string, number[]>();
  readonly writeOffsets: number[] = [];
  /** Compressed writes among all. */
  compressedWrites = 0;
  /** If set, calls wait for it. */
  gate: Promise<void> | undefined;
  readonly #server = new Server({ "grpc.max_receive_message_length": -1 });
  readonly #partialWrites = new Map<string, Uint8Array>();
  #port = 0;

  static async start(options: FakeStorageOptions = {}): Promise<FakeStorage> {
    const storage = new FakeStorage();
    storage.#addServices(options);
    storage.#port = await new Promise((resolve, reject) =>
      storage.#server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    return storage;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  stop(): void {
    this.#server.forceShutdown();
  }

  [Symbol.dispose](): void {
    this.stop();
  }

  add(content: Uint8Array | string, instanceName = ""): Digest {
    const bytes = Buffer.from(content);
    const digest = digestOf(bytes, instanceName);
    this.blobs.set(digest.hash, bytes);
    return digest;
  }

  fail(digest: Digest, ...faults: Fault[]): void {
    this.faults.set(digest.hash, faults);
  }

  callCount(method: string): number {
    return this.calls.get(method) ?? 0;
  }

  async #note(method: string): Promise<void> {
    this.calls.set(method, this.callCount(method) + 1);
    await this.gate;
  }

  #fault(hash: string): Fault | undefined {
    return this.faults.get(hash)?.shift();
  }

  #addServices({
    zstd = false,
    refuseLimits = false,
    maximumBatchBytes = 0,
    pieceBytes = 64 * 1024,
    withoutCapabilities = false,
  }: FakeStorageOptions): void {
    const compressors = zstd ? [Compressor_Value.ZSTD] : [];
    if (!withoutCapabilities) {
      addService(this.#server, Capabilities, {
        getCapabilities: async (_call, callback) => {
          await this.#note("GetCapabilities");
          callback(null, {
            cacheCapabilities: {
              maxBatchTotalSizeBytes: BigInt(maximumBatchBytes),
              supportedCompressors: compressors,
              supportedBatchUpdateCompressors: compressors,
            },
          });
        },
      });
    }
    addService(this.#server, ContentAddressableStorage, {
      findMissingBlobs: async ({ request }, callback) => {
        await this.#note("FindMissingBlobs");
        callback(null, {
          missingBlobDigests: request.blobDigests.filter(({ hash }) => !this.blobs.has(hash)),
        });
      },
      batchReadBlobs: async ({ request }, callback) => {
        await this.#note("BatchReadBlobs");
        const total = request.digests.reduce((sum, { sizeBytes }) => sum + Number(sizeBytes), 0);
        if (maximumBatchBytes > 0 && total > maximumBatchBytes) {
          callback({ code: Code.INVALID_ARGUMENT, details: "batch too large" });
          return;
        }
        const compressed = request.acceptableCompressors.includes(Compressor_Value.ZSTD);
        callback(null, {
          responses: request.digests.map((digest) => this.#batchResponse(digest, compressed)),
        });
      },
      batchUpdateBlobs: async ({ request }, callback) => {
        await this.#note("BatchUpdateBlobs");
        callback(null, {
          responses: request.requests.map(({ digest, data, compressor }) => {
            const content =
              compressor === Compressor_Value.ZSTD ? zstdDecompressSync(data) : Buffer.from(data);
            if (compressor === Compressor_Value.ZSTD) {
              this.compressedWrites++;
            }
            return { digest: digest!, status: { code: this.#store(digest!.hash, content) } };
          }),
        });
      },
    });
    addService(
      this.#server,
      ByteStream,
      {
        read: async (call) => {
          await this.#note("Read");
          const { resourceName, readOffset, readLimit } = call.request;
          const match = /^(?:.*\/)?(compressed-blobs\/zstd|blobs)\/([0-9a-f]{64})\/(\d+)$/.exec(resourceName);
          if (match === null) {
            return void call.emit("error", failure(Code.INVALID_ARGUMENT, resourceName));
          }
          if (refuseLimits && readLimit > 0n) {
            return void call.emit("error", failure(Code.UNIMPLEMENTED, "no limits"));
          }
          const hash = match[2]!;
          const compressed = match[1] !== "blobs";
          this.reads.push({ hash, offset: Number(readOffset), limit: Number(readLimit), compressed });
          const fault = this.#fault(hash);
          let content = this.blobs.get(hash);
          if (content === undefined || fault?.kind === "missing") {
            return void call.emit("error", failure(Code.NOT_FOUND, "no such blob"));
          }
          if (fault?.kind === "corrupt") {
            content = corrupted(content);
          }
          content = content.subarray(Number(readOffset));
          if (readLimit > 0n) {
            content = content.subarray(0, Number(readLimit));
          }
          if (compressed) {
            content = zstdCompressSync(content);
          }
          if (fault && "bytes" in fault) {
            content = content.subarray(0, fault.bytes);
          }
          const cancelled = new Promise((resolve) => call.once("cancelled", resolve));
          for (let offset = 0; offset < content.length && !call.cancelled; offset += pieceBytes) {
            const data = content.subarray(offset, offset + pieceBytes);
            this.bytesSent += data.length;
            if (!call.write({ data })) {
              await Promise.race([once(call, "drain"), cancelled]);
            }
          }
          if (fault?.kind === "break") {
            call.emit("error", failure(fault.code, "broken on purpose"));
          } else if (fault?.kind !== "hang") {
            call.end();
          }
        },
        write: async (call, callback) => {
          await this.#note("Write");
          let name = "";
          let parts: Uint8Array[] = [];
          let length = 0;
          let finished = false;
          let failed = false;
          for await (const { resourceName, writeOffset, finishWrite, data } of call) {
            finished = finishWrite;
            if (name === "") {
              name = resourceName;
              this.writeOffsets.push(Number(writeOffset));
              const kept = this.#partialWrites.get(name) ?? Buffer.alloc(0);
              parts = [kept.subarray(0, Number(writeOffset))];
              length = Number(writeOffset);
            }
            parts.push(data);
            length += data.length;
            const hash = /([0-9a-f]{64})\/\d+$/.exec(name)![1]!;
            const limit = this.breakWrites.get(hash)?.[0];
            if (!failed && limit !== undefined && length >= limit) {
              failed = true;
              this.breakWrites.get(hash)!.shift();
              this.#partialWrites.set(name, Buffer.concat(parts).subarray(0, limit));
              callback({ code: Code.UNAVAILABLE, details: "broken on purpose" });
              return;
            }
          }
          if (!finished) {
            return;
          }
          const match = /(compressed-blobs\/zstd|blobs)\/([0-9a-f]{64})\/(\d+)$/.exec(name)!;
          const compressed = match[1] !== "blobs";
          if (compressed) {
            this.compressedWrites++;
          }
          const content = compressed ? zstdDecompressSync(Buffer.concat(parts)) : Buffer.concat(parts);
          const code = this.#store(match[2]!, content);
          if (code !== Code.OK) {
            callback({ code, details: "the content does not match" });
          } else {
            callback(null, { committedSize: BigInt(compressed ? -1 : content.length) });
          }
        },
        queryWriteStatus: async ({ request }, callback) => {
          await this.#note("QueryWriteStatus");
          const kept = this.#partialWrites.get(request.resourceName);
          if (kept === undefined) {
            callback({ code: Code.NOT_FOUND, details: "no such write" });
          } else {
            callback(null, { committedSize: BigInt(kept.length) });
          }
        },
      },
      BYTE_STREAM_CODECS,
    );
    addService(this.#server, ActionCache, {
      updateActionResult: async ({ request }, callback) => {
        await this.#note("UpdateActionResult");
        this.actionResults.set(request.actionDigest!.hash, request.actionResult!);
        callback(null, request.actionResult!);
      },
    });
  }

  #batchResponse(digest: DigestMessage, compressed: boolean) {
    this.reads.push({ hash: digest.hash, offset: 0, limit: 0, compressed });
    const fault = this.#fault(digest.hash);
    let content = this.blobs.get(digest.hash);
    if (content === undefined || fault?.kind === "missing") {
      return { digest, status: { code: Code.NOT_FOUND, message: "no such blob" } };
    }
    if (fault?.kind === "break") {
      return { digest, status: { code: fault.code, message: "broken on purpose" } };
    }
    if (fault?.kind === "corrupt") {
      content = corrupted(content);
    }
    if (fault?.kind === "short") {
      content = content.subarray(0, fault.bytes);
    }
    this.bytesSent += content.length;
    return compressed
      ? { digest, data: zstdCompressSync(content), compressor: Compressor_Value.ZSTD }
      : { digest, data: content };
  }

  #store(hash: string, content: Uint8Array): number {
    if (createHash("sha256").update(content).digest("hex") !== hash) {
      return Code.INVALID_ARGUMENT;
    }
    this.blobs.set(hash, content);
    return Code.OK;
  }
}

export function digestOf(content: Uint8Array | string, instanceName = ""): Digest {
  const bytes = Buffer.from(content);
  return {
    instanceName,
    function: SHA256,
    hash: createHash("sha256").update(bytes).digest("hex"),
    sizeBytes: bytes.length,
  };
}

function corrupted(content: Uint8Array): Uint8Array {
  const copy = Buffer.from(content);
  copy[copy.length - 1]! ^= 1;
  return copy;
}

function failure(code: number, details: string): Error {
  return Object.assign(new Error(details), { code, details });
}
