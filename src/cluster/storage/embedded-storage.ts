import { join } from "node:path";
import type { Server } from "@grpc/grpc-js";
import { BYTE_STREAM_CODECS } from "../../grpc/byte-stream-codecs.ts";
import { addService } from "../../grpc/handlers.ts";
import {
  ActionCache as ActionCacheProto,
  Capabilities,
  ContentAddressableStorage,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { ByteStream } from "../../proto/gen/google/bytestream/bytestream_pb.ts";
import { computeDigest, DIGEST_FUNCTIONS_READY, type Digest, SHA256 } from "../../reapi/digest.ts";
import { ActionCache, actionCacheService } from "./action-cache.ts";
import { BlobStore } from "./blob-store.ts";
import { ByteStreamService } from "./byte-stream.ts";
import { capabilitiesService } from "./capabilities.ts";
import { contentAddressableStorage } from "./content-addressable-storage.ts";
import {
  entriesBelow,
  type ImportedInputRoot,
  type InputRootEntry,
  importInputRoot,
} from "./import-input-root.ts";
import { type ReadInterceptor, type ReadStatistics, ServedBlobs } from "./served-blobs.ts";

export interface StorageOptions {
  /** Where blobs and action results live. One process at a time may use it. */
  readonly folder: string;
  /** See {@link BlobStore}. Default: any number of bytes. */
  readonly maximumBytes?: number | undefined;
  /** See {@link ReadInterceptor}. */
  readonly onRead?: ReadInterceptor | undefined;
}

/** CAS and action cache in a folder, and the gRPC services that serve them. */
export class EmbeddedStorage {
  readonly blobs: BlobStore;
  readonly actionCache: ActionCache;
  readonly #served: ServedBlobs;
  readonly #byteStream: ByteStreamService;

  private constructor(blobs: BlobStore, actionCache: ActionCache, onRead: ReadInterceptor | undefined) {
    this.blobs = blobs;
    this.actionCache = actionCache;
    this.#served = new ServedBlobs(blobs, onRead);
    this.#byteStream = new ByteStreamService(blobs, this.#served);
  }

  static async open({ folder, maximumBytes, onRead }: StorageOptions): Promise<EmbeddedStorage> {
    await DIGEST_FUNCTIONS_READY;
    const blobs = await BlobStore.open({ folder: join(folder, "cas"), maximumBytes });
    return new EmbeddedStorage(blobs, await ActionCache.open(join(folder, "ac"), blobs), onRead);
  }

  /** Adds ContentAddressableStorage, ByteStream, ActionCache and Capabilities. */
  addServices(server: Server): void {
    addService(server, ContentAddressableStorage, contentAddressableStorage(this.blobs, this.#served));
    addService(server, ByteStream, this.#byteStream.handlers, BYTE_STREAM_CODECS);
    addService(server, ActionCacheProto, actionCacheService(this.actionCache));
    addService(server, Capabilities, capabilitiesService());
  }

  /** Stores a blob. Resolves to its digest. */
  async putBlob(content: Uint8Array): Promise<Digest> {
    const digest = computeDigest("", SHA256, content);
    await this.blobs.put(digest, content);
    return digest;
  }

  /** See {@link importInputRoot}. */
  importInputRoot(
    entries: Iterable<InputRootEntry> | AsyncIterable<InputRootEntry>,
  ): Promise<ImportedInputRoot> {
    return importInputRoot(this.blobs, entries);
  }

  /** Imports a folder of this machine as an input root. */
  importDirectory(hostPath: string): Promise<ImportedInputRoot> {
    return this.importInputRoot(entriesBelow(hostPath));
  }

  /** What clients have read from the CAS since the last {@link resetStatistics}; a copy. */
  statistics(): ReadStatistics {
    return this.#served.statistics();
  }

  resetStatistics(): void {
    this.#served.resetStatistics();
  }

  async close(): Promise<void> {
    await this.#byteStream.close();
  }
}
