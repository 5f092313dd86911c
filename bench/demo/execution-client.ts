import type { MessageShape } from "@bufbuild/protobuf";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { Channel } from "@grpc/grpc-js";
import type { EmbeddedStorage } from "../../src/cluster/storage/embedded-storage.ts";
import type { ReadStatistics } from "../../src/cluster/storage/served-blobs.ts";
import { type Client, createClient } from "../../src/grpc/client.ts";
import {
  type ActionResult,
  ActionSchema,
  CommandSchema,
  type DigestSchema,
  type ExecuteResponse,
  ExecuteResponseSchema,
  Execution,
} from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { computeDigest, type Digest } from "../../src/reapi/digest.ts";
import { digestFromWire, digestMessage } from "../../src/reapi/wire-digest.ts";

/** Of what a failed command has written, in an error. */
const STDERR_LINES = 15;

export interface CommandLine {
  readonly arguments: readonly string[];
  readonly workingDirectory: string;
  readonly outputPaths: readonly string[];
  /** Whether it runs even if its result is known. */
  readonly doNotCache?: boolean;
}

export interface PlatformProperty {
  readonly name: string;
  readonly value: string;
}

export interface Outcome {
  readonly result: ActionResult;
  readonly cachedResult: boolean;
  /** From the client's call to the operation's end. */
  readonly milliseconds: number;
  /** From the worker's learning of the action to its call of the runner. */
  readonly orderToRunMilliseconds: number;
  /** The runner's call itself. */
  readonly runMilliseconds: number;
  /** What the CAS gave to anyone meanwhile. */
  readonly served: ReadStatistics;
  /** Digests of the Action and the Command, which are served too but belong to no input root. */
  readonly controlBlobs: readonly Digest[];
}

/** Runs commands as REAPI clients do, and notes what that cost. */
export class ExecutionClient {
  readonly #storage: EmbeddedStorage;
  readonly #execution: Client<typeof Execution>;
  readonly #platform: { properties: PlatformProperty[] };

  constructor(storage: EmbeddedStorage, channel: Channel, platform: readonly PlatformProperty[]) {
    this.#storage = storage;
    this.#platform = { properties: platform.map((property) => ({ ...property })) };
    this.#execution = createClient(Execution, channel);
  }

  /**
   * Throws where the operation ends with an error, or the command with an exit code other than 0; the signal's reason once
   * that aborts.
   */
  async run(commandLine: CommandLine, inputRoot: Digest, signal?: AbortSignal): Promise<Outcome> {
    const command = await this.#storage.putBlob(
      toBinary(
        CommandSchema,
        create(CommandSchema, {
          arguments: [...commandLine.arguments],
          environmentVariables: [{ name: "PATH", value: "/usr/bin:/bin" }],
          outputPaths: [...commandLine.outputPaths],
          platform: this.#platform,
          workingDirectory: commandLine.workingDirectory,
        }),
      ),
    );
    const action = await this.#storage.putBlob(
      toBinary(
        ActionSchema,
        create(ActionSchema, {
          commandDigest: digestMessage(command),
          inputRootDigest: digestMessage(inputRoot),
          platform: this.#platform,
          doNotCache: commandLine.doNotCache ?? false,
        }),
      ),
    );
    this.#storage.resetStatistics();
    const started = performance.now();
    const response = await this.#execute(action, signal);
    const milliseconds = performance.now() - started;
    const result = response.result;
    if (response.status !== undefined && response.status.code !== 0) {
      throw new Error(`the action failed with code ${response.status.code}: ${response.status.message}`);
    }
    if (result === undefined || result.exitCode !== 0) {
      const lines = (await this.#text(result?.stderrDigest, result?.stderrRaw)).trimEnd().split("\n");
      throw new Error(`exit code ${result?.exitCode}: ${lines.slice(-STDERR_LINES).join("\n")}`);
    }
    const metadata = result.executionMetadata;
    return {
      result,
      cachedResult: response.cachedResult,
      milliseconds,
      orderToRunMilliseconds:
        timeOf(metadata?.executionStartTimestamp) - timeOf(metadata?.workerStartTimestamp),
      runMilliseconds:
        timeOf(metadata?.executionCompletedTimestamp) - timeOf(metadata?.executionStartTimestamp),
      served: this.#storage.statistics(),
      controlBlobs: [command, action],
    };
  }

  /** Reads an output file back and verifies its digest. */
  async output(outcome: Outcome, path: string): Promise<{ digest: Digest; content: Uint8Array }> {
    const file = outcome.result.outputFiles.find((candidate) => candidate.path === path);
    if (file?.digest === undefined) {
      throw new Error(`the action made no ${path}`);
    }
    const digest = digestFromWire("", 0, file.digest, "digest");
    const content = await this.#storage.blobs.read(digest);
    const computed = computeDigest("", digest.function, content);
    if (computed.hash !== digest.hash || computed.sizeBytes !== digest.sizeBytes) {
      throw new Error(`${path} is in the CAS as ${digest.hash}, but its content has ${computed.hash}`);
    }
    return { digest, content };
  }

  async stdout(outcome: Outcome): Promise<string> {
    return await this.#text(outcome.result.stdoutDigest, outcome.result.stdoutRaw);
  }

  async #execute(action: Digest, signal: AbortSignal | undefined): Promise<ExecuteResponse> {
    try {
      const operations = this.#execution.execute({ actionDigest: digestMessage(action) }, { signal });
      for await (const operation of operations) {
        if (operation.result.case === "response") {
          return fromBinary(ExecuteResponseSchema, operation.result.value.value);
        }
        if (operation.result.case === "error") {
          throw new Error(`the operation failed: ${operation.result.value.message}`);
        }
      }
    } catch (error) {
      throw signal?.aborted ? signal.reason : error;
    }
    throw new Error("the scheduler closed the stream before the action was done");
  }

  async #text(
    digest: MessageShape<typeof DigestSchema> | undefined,
    raw: Uint8Array | undefined,
  ): Promise<string> {
    if (digest === undefined) {
      return Buffer.from(raw ?? []).toString();
    }
    const blob = digestFromWire("", 0, digest, "digest");
    return Buffer.from(await this.#storage.blobs.read(blob)).toString();
  }
}

function timeOf(timestamp: { seconds: bigint; nanos: number } | undefined): number {
  return timestamp === undefined ? Number.NaN : Number(timestamp.seconds) * 1000 + timestamp.nanos / 1e6;
}
