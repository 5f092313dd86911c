import { Server, ServerCredentials } from "@grpc/grpc-js";
import { addService, unary } from "../../src/grpc/handlers.ts";
import { failure } from "../../src/grpc/status.ts";
import {
  FileSystemAccessCache,
  type FileSystemAccessProfile,
} from "../../src/proto/gen/buildbarn/fsac/fsac_pb.ts";
import { Code } from "../../src/proto/gen/google/rpc/code_pb.ts";

/** A File System Access Cache in memory: what actions read before, for sides that prefetch. */
export class AccessProfiles {
  readonly #server = new Server();
  readonly #profiles = new Map<string, FileSystemAccessProfile>();

  /** Listens at a socket's path. */
  static async listen(path: string): Promise<AccessProfiles> {
    const cache = new AccessProfiles();
    addService(cache.#server, FileSystemAccessCache, {
      getFileSystemAccessProfile: unary(({ reducedActionDigest }) => {
        const profile = cache.#profiles.get(reducedActionDigest?.hash ?? "");
        if (profile === undefined) {
          throw failure(Code.NOT_FOUND, "there is no profile of this action");
        }
        return profile;
      }),
      updateFileSystemAccessProfile: unary(({ reducedActionDigest, fileSystemAccessProfile }) => {
        if (reducedActionDigest && fileSystemAccessProfile) {
          cache.#profiles.set(reducedActionDigest.hash, fileSystemAccessProfile);
        }
        return {};
      }),
    });
    await new Promise<void>((resolve, reject) =>
      cache.#server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) =>
        error ? reject(error) : resolve(),
      ),
    );
    return cache;
  }

  close(): void {
    this.#server.forceShutdown();
  }
}
