import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Channel, Server, ServerCredentials } from "@grpc/grpc-js";
import { type Client, createClient } from "../../../src/grpc/client.ts";
import { openChannel } from "../../../src/grpc/endpoint.ts";
import { addService, type Handlers } from "../../../src/grpc/handlers.ts";
import { StatusError, statusFromError } from "../../../src/grpc/status.ts";
import {
  type ActionResult,
  type Command,
  CommandSchema,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type {
  OperationQueue,
  SynchronizeRequest,
  SynchronizeResponseSchema,
} from "../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import {
  Runner,
  type RunRequest,
  type RunResponseSchema,
} from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";
import { computeDigest, type Digest, digestKey, SHA256 } from "../../../src/reapi/digest.ts";
import type { BuildDirectory, FileTree } from "../../../src/vfs/index.ts";
import type { ActionBlobAccess } from "../../../src/worker/action/action-blob-access.ts";

/** A gRPC server on a socket of its own, and a channel to it. */
export interface TestServer {
  readonly address: string;
  readonly channel: Channel;
  [Symbol.asyncDispose](): Promise<void>;
}

export async function serve(add: (server: Server) => void): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), "worker-test-"));
  const server = new Server();
  add(server);
  const address = `unix:${folder}/socket`;
  await new Promise<void>((resolve, reject) =>
    server.bindAsync(address, ServerCredentials.createInsecure(), (error) =>
      error ? reject(error) : resolve(),
    ),
  );
  const channel = openChannel({ address });
  return {
    address,
    channel,
    async [Symbol.asyncDispose]() {
      channel.close();
      server.forceShutdown();
      rmSync(folder, { recursive: true });
    },
  };
}

/** What a fake runner does for a command: it works on the build directory itself, as there is no mount. */
export type FakeCommand = (
  build: BuildDirectory,
  request: RunRequest,
  cancelled: AbortSignal,
) => Promise<MessageInitShape<typeof RunResponseSchema>>;

export interface FakeRunner extends TestServer {
  readonly client: Client<typeof Runner>;
  readonly requests: RunRequest[];
  ready: boolean;
}

export async function fakeRunner(
  builds: Map<string, BuildDirectory>,
  command: FakeCommand,
): Promise<FakeRunner> {
  const requests: RunRequest[] = [];
  const fake = { requests, ready: true };
  const handlers: Handlers<typeof Runner> = {
    checkReadiness: (_call, callback) =>
      callback(fake.ready ? null : { code: 9, details: "the build directory is not there" }, {}),
    run: (call, callback) => {
      requests.push(call.request);
      const cancelled = new AbortController();
      call.on("cancelled", () => cancelled.abort());
      const path = call.request.inputRootDirectory.split("/")[0]!;
      command(builds.get(path)!, call.request, cancelled.signal).then(
        (response) => callback(null, response),
        (error: unknown) => callback(new StatusError(statusFromError(error))),
      );
    },
  };
  const server = await serve((server) => addService(server, Runner, handlers));
  return Object.assign(fake, server, { client: createClient(Runner, server.channel) });
}

/** Remembers the build directories of a tree by name, so that a fake runner finds them. */
export function rememberBuilds(tree: FileTree): Map<string, BuildDirectory> {
  const builds = new Map<string, BuildDirectory>();
  const createBuildDirectory = tree.createBuildDirectory.bind(tree);
  tree.createBuildDirectory = (name, options) => {
    const build = createBuildDirectory(name, options);
    builds.set(name, build);
    return build;
  };
  return builds;
}

/** Blobs and results in memory. */
export class FakeStorage implements ActionBlobAccess {
  readonly blobs = new Map<string, Uint8Array>();
  readonly results = new Map<string, ActionResult>();
  readonly #commands = new Map<string, Command>();
  /** Thrown by uploads. */
  uploadError: Error | undefined;

  addCommand(command: MessageInitShape<typeof CommandSchema>): Digest {
    const digest = computeDigest("", SHA256, Buffer.from(JSON.stringify(command)));
    this.#commands.set(digest.hash, create(CommandSchema, command));
    return digest;
  }

  async command(digest: Digest): Promise<Command> {
    const found = this.#commands.get(digest.hash);
    if (found === undefined) {
      throw new BlobError(5, `blob ${digest.hash} is not there`, digest);
    }
    return found;
  }

  outputUploader(action: Digest) {
    const add = (bytes: Uint8Array) => this.#add(action, bytes);
    return {
      instanceName: action.instanceName,
      digestFunction: action.function,
      async uploadFile(file: { attributes(): unknown; read(offset: number, count: number): unknown }) {
        const { size } = (await file.attributes()) as { size: number };
        return add((await file.read(0, Math.max(size, 1))) as Uint8Array);
      },
      async uploadBytes(_digest: Digest, bytes: Uint8Array) {
        await add(bytes);
      },
    };
  }

  async uploadNew(digest: Digest, bytes: Uint8Array): Promise<void> {
    await this.#add(digest, bytes);
  }

  /** Under the digest of `bytes`, by the other one's instance name and function. */
  async #add(of: Digest, bytes: Uint8Array): Promise<Digest> {
    if (this.uploadError !== undefined) {
      throw this.uploadError;
    }
    const digest = computeDigest(of.instanceName, of.function, bytes);
    this.blobs.set(digestKey(digest), Buffer.from(bytes));
    return digest;
  }

  async updateActionResult(action: Digest, result: ActionResult): Promise<void> {
    this.results.set(action.hash, result);
  }

  text(digest: { hash: string; sizeBytes: bigint } | undefined): string | undefined {
    return digest && Buffer.from(this.blobs.get(`sha256-${digest.hash}-${digest.sizeBytes}`)!).toString();
  }
}

/** A scheduler that answers each Synchronize as the test says, in turn. */
export class FakeScheduler {
  readonly #calls: PromiseWithResolvers<SchedulerCall>[] = [];
  #taken = 0;
  #arrived = 0;

  handlers(): Handlers<typeof OperationQueue> {
    return {
      synchronize: (call, callback) => {
        const aborted = new Promise<void>((resolve) => call.on("cancelled", () => resolve()));
        this.#slot(this.#arrived++).resolve({
          request: call.request,
          aborted,
          answer: (response) =>
            callback(null, { nextSynchronizationAt: soon(), ...response } as typeof response),
          fail: (code) => callback({ code, details: "as the test wants" }),
        });
      },
    };
  }

  /** The next call that the worker makes. */
  next(): Promise<SchedulerCall> {
    return this.#slot(this.#taken++).promise;
  }

  #slot(index: number): PromiseWithResolvers<SchedulerCall> {
    this.#calls[index] ??= Promise.withResolvers();
    return this.#calls[index];
  }
}

export interface SchedulerCall {
  readonly request: SynchronizeRequest;
  readonly aborted: Promise<void>;
  answer(response: MessageInitShape<typeof SynchronizeResponseSchema>): void;
  fail(code: number): void;
}

/** Far enough that a worker does not call again by itself while a test runs. */
export function soon(): { seconds: bigint; nanos: number } {
  return { seconds: BigInt(Math.floor(Date.now() / 1000) + 3600), nanos: 0 };
}
