import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Channel, status } from "@grpc/grpc-js";
import { type Client, createClient } from "../../src/grpc/client.ts";
import {
  ActionSchema,
  CommandSchema,
  ContentAddressableStorage,
  type Directory,
  DirectoryNodeSchema,
  DirectorySchema,
  type ExecuteResponse,
  ExecuteResponseSchema,
  Execution,
  type Tree,
  TreeSchema,
} from "../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../src/proto/gen/google/rpc/code_pb.ts";
import { computeDigest, type Digest, SHA256 } from "../../src/reapi/digest.ts";
import { digestMessage, type WireDigest } from "../../src/reapi/wire-digest.ts";
import type { Work } from "./work.ts";

/** What clients such as Bazel answer with another try. */
const WORTH_ANOTHER_TRY: readonly Code[] = [
  Code.UNAVAILABLE,
  Code.UNKNOWN,
  Code.INTERNAL,
  Code.ABORTED,
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED,
];

/** Less than the usual limit of a message. */
const BATCH_BYTES = 3_500_000;

/** The action ended otherwise than it must. */
export class WrongResult extends Error {
  override readonly name = "WrongResult";
}

/** A client as builds have one: uploads, executes, tries again after a fault, and verifies what it is told. */
export class WorkClient {
  /** How often an action ended with a status and was tried again, by "CODE: message" without numbers. */
  readonly retries = new Map<string, number>();
  readonly #storage: Client<typeof ContentAddressableStorage>;
  readonly #execution: Client<typeof Execution>;
  readonly #root: Directory;
  readonly #callMilliseconds: number;

  /**
   * `root` is the Directory that all input roots begin with; its blobs are in storage. `callMilliseconds` is how long a
   * call to storage may take.
   */
  constructor(channel: Channel, root: Directory, callMilliseconds = 10_000) {
    this.#storage = createClient(ContentAddressableStorage, channel);
    this.#execution = createClient(Execution, channel);
    this.#root = root;
    this.#callMilliseconds = callMilliseconds;
  }

  /**
   * Resolves when the action's right result is there. Rejects with WrongResult, with any status that is not worth
   * another try, or with the signal's reason.
   */
  async run(work: Work, signal: AbortSignal): Promise<void> {
    for (;;) {
      signal.throwIfAborted();
      try {
        const action = await this.#upload(work);
        const response = await this.#execute(action, signal);
        await this.#verify(work, response);
        return;
      } catch (error) {
        signal.throwIfAborted();
        const { code, message } = error as { code?: Code; message: string };
        if (code === undefined || !WORTH_ANOTHER_TRY.includes(code)) {
          throw error;
        }
        const kind = `${status[code]}: ${message.replace(/[0-9a-f]{8,}|\d+/g, "N").slice(0, 100)}`;
        this.retries.set(kind, (this.retries.get(kind) ?? 0) + 1);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    }
  }

  async #upload(work: Work): Promise<Digest> {
    const blobs: Blob[] = [];
    const add = (data: Uint8Array): Digest => {
      const digest = computeDigest("", SHA256, data);
      blobs.push({ digest: digestMessage(digest), data });
      return digest;
    };
    const input = toBinary(
      DirectorySchema,
      create(DirectorySchema, {
        files: [...work.inputs]
          .map(([name, content]) => ({ name, digest: digestMessage(add(content)) }))
          .sort(byName),
      }),
    );
    const node = create(DirectoryNodeSchema, { name: "in", digest: digestMessage(add(input)) });
    const directories = [...this.#root.directories, node].sort(byName);
    const root = add(toBinary(DirectorySchema, create(DirectorySchema, { ...this.#root, directories })));
    const command = add(
      toBinary(
        CommandSchema,
        create(CommandSchema, {
          arguments: ["/bin/sh", "-c", work.script],
          environmentVariables: [{ name: "PATH", value: "/bin:/usr/bin" }],
          outputPaths: ["out"],
        }),
      ),
    );
    const action = add(
      toBinary(
        ActionSchema,
        create(ActionSchema, {
          commandDigest: digestMessage(command),
          inputRootDigest: digestMessage(root),
          timeout: { seconds: 60n },
        }),
      ),
    );
    for (const batch of batches(blobs, ({ data }) => data.length)) {
      const { responses } = await this.#storage.batchUpdateBlobs({ requests: batch }, this.#inTime());
      for (const response of responses) {
        throwUnlessOk(response.status);
      }
    }
    return action;
  }

  async #execute(action: Digest, signal: AbortSignal): Promise<ExecuteResponse> {
    const operations = this.#execution.execute({ actionDigest: digestMessage(action) }, { signal });
    for await (const { done, result } of operations) {
      if (done && result.case === "error") {
        throwUnlessOk(result.value);
      }
      if (done && result.case === "response") {
        const response = anyUnpack(result.value, ExecuteResponseSchema)!;
        throwUnlessOk(response.status);
        return response;
      }
    }
    throw Object.assign(new Error("the operation's stream ended early"), { code: Code.UNAVAILABLE });
  }

  async #verify(work: Work, { result }: ExecuteResponse): Promise<void> {
    const expect = (what: string, isRight: boolean, seen: unknown) => {
      if (!isRight) {
        throw new WrongResult(`${work.name}: ${what}: ${seen}\n${work.script}`);
      }
    };
    expect("there is no result", result !== undefined, result);
    const { exitCode, stdoutRaw, stdoutDigest, stderrDigest, outputDirectories } = result!;
    const stderr = stderrDigest ? (await this.#read([stderrDigest]))[0]! : Buffer.alloc(0);
    expect(
      `exit code, not ${work.exitCode}`,
      exitCode === work.exitCode,
      `${exitCode}, stderr "${stderr.toString().slice(0, 500)}"`,
    );
    const stdout = stdoutDigest ? (await this.#read([stdoutDigest]))[0]! : Buffer.from(stdoutRaw);
    expect("standard output", work.stdout.equals(stdout), stdout.toString("latin1").slice(0, 500));
    const [out] = outputDirectories;
    expect("there is no output directory", out?.treeDigest !== undefined, outputDirectories);
    const [treeBytes] = await this.#read([out!.treeDigest!]);
    const found = filesOf(fromBinary(TreeSchema, treeBytes!));
    expect(
      "its output files",
      sameMembers([...found.keys()], [...work.outputs.keys()]),
      [...found.keys()].sort(),
    );
    const paths = [...found.keys()];
    const contents = await this.#read([...found.values()]);
    for (const [index, path] of paths.entries()) {
      expect(`the content of ${path}`, work.outputs.get(path)!.equals(contents[index]!), "another");
    }
  }

  /** The blobs' contents, in order, verified. */
  async #read(digests: readonly WireDigest[]): Promise<Buffer[]> {
    const contents: Buffer[] = [];
    for (const batch of batches(digests, ({ sizeBytes }) => Number(sizeBytes))) {
      const { responses } = await this.#storage.batchReadBlobs({ digests: batch }, this.#inTime());
      for (const [index, { data, digest, status: ended }] of responses.entries()) {
        throwUnlessOk(ended);
        const { hash } = computeDigest("", SHA256, data);
        if (hash !== digest?.hash || hash !== batch[index]?.hash) {
          throw new WrongResult(`storage has something else as ${batch[index]?.hash}`);
        }
        contents.push(Buffer.from(data));
      }
    }
    return contents;
  }

  #inTime() {
    return { deadline: Date.now() + this.#callMilliseconds };
  }
}

interface Blob {
  readonly digest: WireDigest;
  readonly data: Uint8Array;
}

function throwUnlessOk(ended: { code: number; message: string } | undefined): void {
  if (ended !== undefined && ended.code !== Code.OK) {
    throw Object.assign(new Error(ended.message), { code: ended.code });
  }
}

function byName(a: { name: string }, b: { name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function sameMembers(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && new Set([...a, ...b]).size === a.length;
}

function* batches<T>(items: readonly T[], size: (item: T) => number): Iterable<T[]> {
  let batch: T[] = [];
  let bytes = 0;
  for (const item of items) {
    if (batch.length > 0 && bytes + size(item) > BATCH_BYTES) {
      yield batch;
      batch = [];
      bytes = 0;
    }
    batch.push(item);
    bytes += size(item);
  }
  if (batch.length > 0) {
    yield batch;
  }
}

/** The digests of all files below the tree's root, by path. */
function filesOf(tree: Tree): Map<string, WireDigest> {
  const children = new Map(
    tree.children.map((child) => [computeDigest("", SHA256, toBinary(DirectorySchema, child)).hash, child]),
  );
  const files = new Map<string, WireDigest>();
  const walk = (directory: Directory | undefined, prefix: string) => {
    if (directory === undefined) {
      throw new WrongResult(`the tree lacks the directory ${prefix}`);
    }
    for (const { name, digest } of directory.files) {
      files.set(prefix + name, digest!);
    }
    for (const { name, digest } of directory.directories) {
      walk(children.get(digest!.hash), `${prefix}${name}/`);
    }
  };
  walk(tree.root, "");
  return files;
}
