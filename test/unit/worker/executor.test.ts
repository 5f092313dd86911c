import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { anyUnpack, timestampMs } from "@bufbuild/protobuf/wkt";
import { Semaphore } from "../../../src/async/semaphore.ts";
import type { AccessProfile } from "../../../src/cas/file-system-access-cache.ts";
import { StatusError, status } from "../../../src/grpc/status.ts";
import { MountError } from "../../../src/mount/index.ts";
import {
  ActionResultSchema,
  type CommandSchema,
  type ExecuteResponse,
  TreeSchema,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { HistoricalExecuteResponseSchema } from "../../../src/proto/gen/buildbarn/cas/cas_pb.ts";
import { DesiredState_ExecutingSchema } from "../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import {
  FilePoolResourceUsageSchema,
  InputRootResourceUsageSchema,
  MonetaryResourceUsage_ExpenseSchema,
  MonetaryResourceUsageSchema,
} from "../../../src/proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../../../src/proto/gen/google/rpc/error_details_pb.ts";
import { BlobError } from "../../../src/reapi/blob-error.ts";
import { type Digest, makeDigest, SHA256 } from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import type { Attributes, Span, Tracer } from "../../../src/telemetry/tracing/spans.ts";
import { type BuildDirectory, FileTree, MemoryFilePool, toName } from "../../../src/vfs/index.ts";
import type { ActionBlobAccess } from "../../../src/worker/action/action-blob-access.ts";
import { actionDirectories } from "../../../src/worker/action/action-directory.ts";
import { createExecutor, type ExecutorOptions } from "../../../src/worker/action/executor.ts";
import { TestInfrastructureFailures } from "../../../src/worker/action/test-infrastructure-failures.ts";
import { ExecutionTimeouts } from "../../../src/worker/compensation/execution-timeouts.ts";
import type { PrefetchingOptions } from "../../../src/worker/prefetching/prefetching.ts";
import type { ExecutionStage } from "../../../src/worker/scheduler/build-client.ts";
import { FakeInputSource, symlink, type Tree } from "../vfs/fake-input-source.ts";
import { type FakeCommand, type FakeRunner, FakeStorage, fakeRunner, rememberBuilds } from "./fakes.ts";

type CommandInit = MessageInitShape<typeof CommandSchema>;

interface Run {
  readonly inputRoot?: Tree | Digest;
  readonly command?: CommandInit | Digest;
  readonly action?: { readonly timeoutSeconds?: number; readonly doNotCache?: boolean };
  readonly runs?: FakeCommand;
  readonly options?: Partial<ExecutorOptions>;
  readonly signal?: AbortSignal;
  readonly auxiliaryMetadata?: readonly { readonly typeUrl: string; readonly value: Uint8Array }[];
}

describe("executor", () => {
  let content: FakeInputSource;
  let storage: FakeStorage;
  let tree: FileTree;
  let builds: Map<string, BuildDirectory>;
  let runner: FakeRunner;
  let runs: FakeCommand;
  let stages: ExecutionStage[];
  let quota: { maximumFileCount?: number; maximumSizeBytes?: number };
  let names: number;
  let namedAfter: (string | undefined)[];
  let untilVisible: (name: string) => Promise<void>;
  let syncs: number;

  beforeEach(async () => {
    content = new FakeInputSource();
    storage = new FakeStorage();
    tree = new FileTree({
      source: {
        directory: (digest) => content.directory(digest),
        read: (digest, offset, count) => content.read(digest, offset, count),
      },
      pool: new MemoryFilePool(1 << 20),
    });
    builds = rememberBuilds(tree);
    runner = await fakeRunner(builds, (build, request, cancelled) => runs(build, request, cancelled));
    stages = [];
    quota = {};
    names = 0;
    namedAfter = [];
    untilVisible = async () => {};
    syncs = 0;
  });

  afterEach(async () => {
    assert.equal(tree.counts().buildDirectories, 0, "the build directory is removed");
    await runner[Symbol.asyncDispose]();
  });

  const succeed: FakeCommand = async () => ({});

  async function execute(run: Run): Promise<ExecuteResponse> {
    const { inputRoot = {}, command = { arguments: ["true"] }, action = {}, options = {}, signal } = run;
    runs = run.runs ?? succeed;
    const owner = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
    const executor = createExecutor({
      blobAccess: storage,
      inputs: content,
      createDirectory: actionDirectories({
        tree,
        owner,
        quota,
        nameFor: (action) => {
          namedAfter.push(action?.hash);
          return `build-${++names}`;
        },
        untilVisible,
        sync: async () => {
          syncs++;
        },
      }),
      runner: runner.client,
      instanceNamePrefix: "",
      characterDevices: [],
      owner,
      environmentVariables: {},
      workerName: "worker",
      maximumTimeoutCompensation: 0,
      maximumUploadDuration: 3_600_000,
      forceUploadTreesAndDirectories: false,
      costsPerSecond: {},
      executionTimeouts: new ExecutionTimeouts(),
      infrastructureFailures: new TestInfrastructureFailures(),
      maximumConsecutiveInfrastructureFailures: undefined,
      browserUrl: "",
      log: createLog("error", () => {}),
      ...options,
    });
    const rootDigest = isDigest(inputRoot) ? inputRoot : content.addTree(inputRoot);
    const commandDigest = isDigest(command) ? command : storage.addCommand(command);
    const request = create(DesiredState_ExecutingSchema, {
      actionDigest: digestMessage(makeDigest("", SHA256, "a".repeat(64), 1)),
      action: {
        commandDigest: digestMessage(commandDigest),
        inputRootDigest: digestMessage(rootDigest),
        timeout: { seconds: BigInt(action.timeoutSeconds ?? 3600) },
        doNotCache: action.doNotCache ?? false,
      },
      digestFunction: 1,
      auxiliaryMetadata: [...(run.auxiliaryMetadata ?? [])],
    });
    return executor(request, {
      signal: signal ?? new AbortController().signal,
      orderedAt: performance.now(),
      onStage: (stage) => stages.push(stage),
    });
  }

  const isDigest = (value: object): value is Digest => "hash" in value && "sizeBytes" in value;
  const path = (text: string) => text.split("/").map(toName);

  describe("the build directory", () => {
    it("has one line in the log at its end: where its time went, how it ended, and its bytes", async () => {
      const lines: string[] = [];
      await execute({
        command: { arguments: ["cc"], outputPaths: ["out"] },
        inputRoot: { "in.c": "int x;" },
        runs: async (build) => {
          await build.lookupPath([toName("root"), toName("in.c")]);
          await build.createFile([toName("root"), toName("out")], Buffer.from("four"));
          return {};
        },
        options: { log: createLog("info", (line) => lines.push(line), "json") },
      });
      const ended = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
      assert.equal(ended.length, 1);
      const { exitCode, status, action, inputBytesFound, uploadedBytes, ...times } = ended[0]!;
      assert.deepEqual(
        [exitCode, status, action, inputBytesFound, uploadedBytes],
        [0, "OK", "a".repeat(64), 6, 4],
      );
      for (const part of ["queued", "input", "run", "storage", "upload"]) {
        assert.equal(typeof times[`${part}Milliseconds`], "number", part);
      }
    });

    it("is named after the action unless that may run twice at once", async () => {
      await execute({});
      await execute({ action: { doNotCache: true } });
      assert.deepEqual(namedAfter, ["a".repeat(64), undefined]);
    });

    it("has been made, and its name is seen by the kernel, before the command runs", async () => {
      const steps: string[] = [];
      untilVisible = async (name) => {
        steps.push(`${name} is to be seen`);
        await setImmediate();
        steps.push("seen");
      };
      await execute({
        runs: async () => {
          steps.push("runs");
          return {};
        },
      });
      assert.deepEqual(steps, ["build-1 is to be seen", "seen", "runs"]);
    });

    it("has been written back if the kernel still has files open; else it is", async () => {
      await execute({
        runs: async (build) => {
          const file = await build.createFile(["root", "out"]);
          file.retain();
          file.release();
          return {};
        },
      });
      assert.equal(syncs, 0);
      await execute({
        runs: async (build) => {
          (await build.createFile(["root", "out"])).retain();
          return {};
        },
      });
      assert.equal(syncs, 1);
    });

    it("that the kernel does not get to see fails the action, which does not run", async () => {
      untilVisible = async () => {
        throw new MountError("the kernel does not look", "EIO");
      };
      const response = await execute({ runs: () => assert.fail("it runs") });
      assert.equal(response.status?.code, Code.INTERNAL);
      assert.match(response.status.message, /the kernel does not look/);
    });
  });

  describe("a command that runs", () => {
    it("has a timeout that others can suspend, for as long as it runs", async () => {
      const events: string[] = [];
      await execute({
        options: {
          executionTimeouts: {
            add: () => {
              events.push("added");
              return { [Symbol.dispose]: () => events.push("removed") };
            },
          },
        },
        runs: async () => {
          events.push("runs");
          return {};
        },
      });
      assert.deepEqual(events, ["added", "runs", "removed"]);
    });

    it("finds its input root, and everything the worker places, before it runs", async () => {
      const response = await execute({
        inputRoot: { "in.txt": "input", dev: { null: "a file under the device's name" } },
        command: {
          arguments: ["sh", "-c", "true"],
          workingDirectory: "work",
          environmentVariables: [{ name: "A", value: "action" }],
          outputPaths: ["out/deep/file", "../top"],
        },
        options: {
          environmentVariables: { A: "worker", B: "worker" },
          characterDevices: [{ name: "null", major: 1, minor: 3 }],
        },
        runs: async (build, request) => {
          assert.deepEqual(request.arguments, ["sh", "-c", "true"]);
          assert.deepEqual(request.environmentVariables, { A: "action", B: "worker" });
          assert.equal(request.workingDirectory, "work");
          assert.equal(request.stdoutPath, "build-1/stdout");
          assert.equal(request.stderrPath, "build-1/stderr");
          assert.equal(request.inputRootDirectory, "build-1/root");
          assert.equal(request.temporaryDirectory, "build-1/tmp");
          assert.equal(request.serverLogsDirectory, "build-1/server_logs");
          for (const directory of ["tmp", "server_logs", "root/work/out/deep"]) {
            assert.equal((await build.lookupPath(path(directory)))?.type, 2, directory);
          }
          assert.equal(await build.lookupPath(path("root/work/out/deep/file")), undefined);
          const device = await build.lookupPath(path("root/dev/null"));
          assert.equal(device?.type, 4);
          assert.deepEqual(device?.type === 4 && [device.major, device.minor], [1, 3]);
          assert.equal((await device?.attributes())?.mode, 0o666);
          return {};
        },
      });
      assert.equal(response.status, undefined);
      assert.deepEqual(stages, ["fetchingInputs", "running", "uploadingOutputs"]);
    });

    it("makes nothing of the input root be fetched but its root directory", async () => {
      await execute({
        inputRoot: { a: { b: { c: "c" } }, file: "f" },
        command: { arguments: ["true"], outputPaths: ["out/file"] },
        runs: async () => {
          assert.equal(new Set(content.directoriesAsked).size, 1);
          assert.equal(content.readsAsked.length, 0);
          return {};
        },
      });
    });

    it("has its outputs, streams and server logs uploaded", async () => {
      const response = await execute({
        inputRoot: { "in.txt": "input" },
        command: { arguments: ["true"], outputPaths: ["file", "directory", "link", "nothing", "in.txt"] },
        runs: async (build) => {
          await build.createFile(path("stdout"), Buffer.from("to stdout"));
          await build.createFile(path("stderr"));
          await build.createFile(path("server_logs/kernel/log"), Buffer.from("logged"));
          await build.createFile(path("root/file"), Buffer.from("made"), 0o755);
          await build.createFile(path("root/directory/b/file"), Buffer.from("below"));
          await build.makeDirectories(path("root/directory/a"));
          const root = await build.makeDirectories(path("root"));
          await root.createSymlink(
            "link",
            { ...build.owner, supplementaryGroupIds: [] },
            Buffer.from(".//to/./file"),
            {},
          );
          return { exitCode: 3n };
        },
      });
      const result = response.result!;
      assert.equal(result.exitCode, 3);
      assert.equal(storage.text(result.stdoutDigest), "to stdout");
      assert.equal(result.stderrDigest, undefined);
      assert.equal(storage.text(response.serverLogs["kernel/log"]?.digest), "logged");
      assert.deepEqual(
        result.outputFiles.map(({ path, digest, isExecutable }) => [
          path,
          storage.text(digest),
          isExecutable,
        ]),
        [
          ["file", "made", true],
          ["in.txt", "input", false],
        ],
      );
      assert.deepEqual(
        result.outputSymlinks.map(({ path, target }) => [path, target]),
        [["link", "to/file"]],
      );
      const [directory] = result.outputDirectories;
      assert.equal(directory?.path, "directory");
      assert.equal(directory?.isTopologicallySorted, true);
      assert.equal(directory?.rootDirectoryDigest, undefined);
      const { hash, sizeBytes } = directory!.treeDigest!;
      const { root, children } = fromBinary(TreeSchema, storage.blobs.get(`sha256-${hash}-${sizeBytes}`)!);
      assert.deepEqual(
        root?.directories.map(({ name }) => name),
        ["a", "b"],
      );
      assert.equal(children.length, 2);
      assert.equal(storage.results.size, 0, "a failure is not cached");
    });

    it("has its success put into the action cache, unless it must not", async () => {
      const response = await execute({ options: { browserUrl: "http://browser:7984/" } });
      assert.equal(storage.results.size, 1);
      assert.equal(
        response.message,
        `Action details (cached result): http://browser:7984/blobs/sha256/action/${"a".repeat(64)}-1/`,
      );
      storage.results.clear();
      assert.equal((await execute({ action: { doNotCache: true } })).status, undefined);
      assert.equal(storage.results.size, 0);
    });

    it("has a failure kept in the CAS for bb_browser", async () => {
      const response = await execute({ runs: async () => ({ exitCode: 1n }) });
      const kept = [...storage.blobs.values()].map((blob) =>
        fromBinary(HistoricalExecuteResponseSchema, blob),
      );
      assert.deepEqual(
        kept.map(({ actionDigest, executeResponse }) => [
          actionDigest?.hash,
          executeResponse?.result?.exitCode,
        ]),
        [["a".repeat(64), 1]],
      );
      assert.equal(response.message, "", "there is no bb_browser to link to");
    });

    it("has the times of its stages, its costs and the runner's resource usage in the metadata", async () => {
      const { result } = await execute({
        options: {
          costsPerSecond: {
            cpu: {
              $typeName: "buildbarn.resourceusage.MonetaryResourceUsage.Expense",
              currency: "EUR",
              cost: 2,
            },
          },
        },
        runs: async (build) => {
          const file = await build.createFile(path("root/file"), Buffer.from("12345"));
          await file.read(0, 100);
          await file.setAttributes({ size: 2 });
          return { resourceUsage: [{ typeUrl: "type.googleapis.com/x", value: new Uint8Array(1) }] };
        },
      });
      const metadata = result!.executionMetadata!;
      assert.equal(metadata.worker, "worker");
      const times = [
        metadata.workerStartTimestamp,
        metadata.inputFetchStartTimestamp,
        metadata.inputFetchCompletedTimestamp,
        metadata.executionStartTimestamp,
        metadata.executionCompletedTimestamp,
        metadata.outputUploadStartTimestamp,
        metadata.outputUploadCompletedTimestamp,
        metadata.workerCompletedTimestamp,
      ].map((time) => Number(time!.seconds) * 1000 + time!.nanos / 1e6);
      assert.deepEqual(
        times,
        times.toSorted((a, b) => a - b),
      );
      assert.ok(metadata.virtualExecutionDuration);
      assert.deepEqual(
        metadata.auxiliaryMetadata.map(({ typeUrl }) => typeUrl.split("/")[1]),
        [
          "x",
          "buildbarn.resourceusage.FilePoolResourceUsage",
          "buildbarn.resourceusage.MonetaryResourceUsage",
        ],
      );
      const { $typeName: _, ...usage } = anyUnpack(
        metadata.auxiliaryMetadata[1]!,
        FilePoolResourceUsageSchema,
      )!;
      assert.deepEqual(usage, {
        filesCreated: 1n,
        filesCountPeak: 1n,
        filesSizeBytesPeak: 5n,
        readsCount: 1n,
        readsSizeBytes: 5n,
        writesCount: 1n,
        writesSizeBytes: 5n,
        truncatesCount: 1n,
      });
      const costs = anyUnpack(metadata.auxiliaryMetadata[2]!, MonetaryResourceUsageSchema);
      assert.equal(costs?.expenses.cpu?.currency, "EUR");
    });
  });

  it("too many results in a row that blame the machine end the work of all threads", async () => {
    const infrastructureFailures = new TestInfrastructureFailures();
    const run = (outputs: readonly string[]) =>
      execute({
        command: { arguments: ["test"], outputPaths: ["d/test.infrastructure_failure", "other"] },
        options: { infrastructureFailures, maximumConsecutiveInfrastructureFailures: 1 },
        runs: async (build) => {
          for (const output of outputs) {
            await build.createFile(path(`root/${output}`));
          }
          return {};
        },
      });
    assert.equal((await run(["other"])).status, undefined);
    assert.equal(storage.results.size, 1);
    storage.results.clear();
    const blaming = await run(["d/test.infrastructure_failure"]);
    assert.equal(blaming.status?.code, Code.UNAVAILABLE, blaming.status?.message);
    assert.equal(blaming.result?.outputFiles.length, 1);
    assert.equal(storage.results.size, 0);
    const { length } = runner.requests;
    assert.equal((await run([])).status?.code, Code.UNAVAILABLE);
    assert.equal(runner.requests.length, length, "nothing runs any more");
  });

  it("each time that the command waits for storage is a span of its stage, up to a number", async () => {
    content.delayed = true;
    const finished: { name: string; parent: string; attributes: Attributes }[] = [];
    const spanOf = (name: string, parent: string, attributes: Attributes): Span => ({
      context: undefined,
      isRecording: true,
      child: (child, options) => spanOf(child, name, options?.attributes ?? {}),
      set: (more) => void Object.assign(attributes, more),
      end: () => void finished.push({ name, parent, attributes }),
    });
    const tracer: Tracer = { start: (name, _, options) => spanOf(name, "", { ...options?.attributes }) };
    const inputRoot = { directory: { file: "content" } };
    const reads = 600;
    await execute({
      inputRoot,
      options: { tracer },
      runs: async (build) => {
        const file = await build.lookupPath(path("root/directory/file"));
        for (let read = 0; read < reads; read++) {
          assert.ok(file?.type === 1);
          await file.read(0, 4);
        }
        return {};
      },
    });
    const fetches = finished.filter(({ name, parent }) => name === "fetch" && parent === "Running");
    const { hash } = content.addBlob("content");
    assert.ok(fetches.some(({ attributes }) => attributes["digest.hash"] === hash));
    assert.equal(finished.filter(({ name }) => name === "fetch").length, 500);
    const { attributes } = finished.find(({ name }) => name === "BuildExecutor.Execute")!;
    // And the directories.
    assert.ok(Number(attributes.fetches_without_span) > reads - 500);
    assert.deepEqual(
      finished.filter(({ parent }) => parent === "BuildExecutor.Execute").map(({ name }) => name),
      ["FetchingInputs", "Running", "UploadingOutputs", "UpdateActionResult"],
    );
  });

  it("a result that does not blame the machine begins the count anew", () => {
    const failures = new TestInfrastructureFailures();
    const note = failures.thread(2);
    const other = failures.thread(2);
    const result = (file: string) => create(ActionResultSchema, { outputFiles: [{ path: `a/${file}` }] });
    const blaming = result("test.infrastructure_failure");
    for (const each of [blaming, result("test.log"), blaming]) {
      note(each);
    }
    other(blaming);
    assert.equal(failures.signal.aborted, false);
    note(blaming);
    assert.equal(failures.signal.aborted, true);
  });

  describe("with prefetching", () => {
    const inputRoot = { bin: { cc: "compiler", ld: "linker" }, lib: { so: "library" } };
    const readsCompiler: FakeCommand = async (build) => {
      await build.lookupPath(path("root/bin/cc"));
      return {};
    };
    let profiles: Map<string, AccessProfile>;
    let updates: number;

    beforeEach(() => {
      profiles = new Map();
      updates = 0;
    });

    /** The messages of an action that costs 3 EUR a second, after checking what it has cost. */
    async function metadataOf(run: Run): Promise<(string | undefined)[]> {
      const { result } = await execute({
        auxiliaryMetadata: [{ typeUrl: "type.googleapis.com/scheduler", value: new Uint8Array() }],
        ...run,
        options: {
          prefetching: prefetching(),
          costsPerSecond: { cpu: create(MonetaryResourceUsage_ExpenseSchema, { currency: "EUR", cost: 3 }) },
        },
      });
      const { auxiliaryMetadata, workerStartTimestamp, workerCompletedTimestamp } =
        result!.executionMetadata!;
      const milliseconds = timestampMs(workerCompletedTimestamp!) - timestampMs(workerStartTimestamp!);
      const { expenses } = anyUnpack(auxiliaryMetadata.at(-1)!, MonetaryResourceUsageSchema)!;
      assert.deepEqual(
        Object.entries(expenses).map(([kind, { currency, cost }]) => [kind, currency, cost.toFixed(9)]),
        [["cpu", "EUR", ((milliseconds * 3) / 1000).toFixed(9)]],
      );
      return auxiliaryMetadata.map(({ typeUrl }) => typeUrl.split(/[./]/).at(-1));
    }

    it("has the auxiliary metadata of Buildbarn, in its order, also when the action fails", async () => {
      const runs: FakeCommand = async () => {
        // So that it costs something.
        for (const before = Date.now(); Date.now() === before; ) {
          await setImmediate();
        }
        return { resourceUsage: [{ typeUrl: "type.googleapis.com/runner", value: new Uint8Array() }] };
      };
      const ours = ["InputRootResourceUsage", "FilePoolResourceUsage", "MonetaryResourceUsage"];
      assert.deepEqual(await metadataOf({ inputRoot, runs }), ["scheduler", "runner", ...ours]);
      assert.deepEqual(await metadataOf({ command: content.addBlob("no command") }), ["scheduler", ...ours]);
      assert.deepEqual(await metadataOf({ signal: AbortSignal.abort() }), ["scheduler", ...ours]);
    });

    const prefetching = (
      get = async (digest: Digest): Promise<AccessProfile | undefined> => profiles.get(digest.hash),
    ): PrefetchingOptions => ({
      cache: {
        get,
        update: async (digest, profile) => {
          updates++;
          profiles.set(digest.hash, profile);
        },
      },
      source: content,
      filterSize: { bitsPerPath: 14, maximumSizeBytes: 1 << 16 },
      batches: new Semaphore(1),
      log: createLog("error", () => {}),
    });

    it("a success leaves a profile, by which the next such action has its inputs fetched before it asks", async () => {
      const command = { arguments: ["cc"], outputPaths: ["lib/so"] };
      const first = await execute({
        inputRoot,
        command,
        options: { prefetching: prefetching() },
        runs: readsCompiler,
      });
      assert.equal(first.status, undefined);
      assert.equal(updates, 1);
      const [any] = first.result!.executionMetadata!.auxiliaryMetadata;
      const { $typeName: _, ...usage } = anyUnpack(any!, InputRootResourceUsageSchema)!;
      assert.deepEqual(usage, { directoriesResolved: 3n, directoriesRead: 2n, filesRead: 1n });
      // The upload of the declared output.
      content.readsAsked.length = 0;

      const { hash } = content.addBlob("compiler");
      const fetched = async (build: BuildDirectory) => {
        while (!content.readsAsked.some((read) => read.hash === hash)) {
          await setImmediate();
        }
        return readsCompiler(build, {} as never, new AbortController().signal);
      };
      await execute({ inputRoot, command, options: { prefetching: prefetching() }, runs: fetched });
      assert.equal(content.readsAsked[0]?.hash, hash);
      assert.equal(updates, 1, "the profile is the same");
    });

    it("a failure leaves none", async () => {
      await execute({
        inputRoot,
        options: { prefetching: prefetching() },
        runs: async () => ({ exitCode: 1n }),
      });
      assert.equal(updates, 0);
    });

    it("a cache that fails fails the action", async () => {
      const away = () => Promise.reject(new BlobError(Code.UNAVAILABLE, "the cache is away"));
      const response = await execute({
        inputRoot,
        options: { prefetching: prefetching(away) },
        runs: readsCompiler,
      });
      assert.equal(response.status?.code, Code.UNAVAILABLE, response.status?.message);
      assert.equal(updates, 0);
    });

    it("a profile that is none is replaced", async () => {
      const broken = async () => ({ bloomFilter: new Uint8Array(3), bloomFilterHashFunctions: 1 });
      const options = { prefetching: prefetching(broken) };
      const response = await execute({ inputRoot, options, runs: readsCompiler });
      assert.equal(response.status, undefined);
      assert.equal(updates, 1);
    });
  });

  describe("what ends in which status", () => {
    const endsWith = (response: ExecuteResponse, code: Code, message: RegExp) => {
      assert.equal(response.status?.code, code, response.status?.message);
      assert.match(response.status!.message, message);
      assert.equal(storage.results.size, 0);
    };
    const missing = (response: ExecuteResponse) =>
      response.status!.details.flatMap((detail) =>
        anyUnpack(detail, PreconditionFailureSchema)!.violations.map(({ type, subject }) => [type, subject]),
      );

    it("a command that is not in the CAS: FAILED_PRECONDITION, naming it", async () => {
      const digest = makeDigest("", SHA256, "c".repeat(64), 7);
      const response = await execute({ command: digest });
      endsWith(response, Code.FAILED_PRECONDITION, /c{64}/);
      assert.deepEqual(missing(response), [["MISSING", `blobs/${digest.hash}/7`]]);
      assert.equal(runner.requests.length, 0);
    });

    it("a root directory that is not in the CAS: FAILED_PRECONDITION, before anything runs", async () => {
      const digest = content.addTree({ a: "a" });
      content.lose(digest);
      const response = await execute({ inputRoot: digest });
      assert.deepEqual(missing(response), [["MISSING", `blobs/${digest.hash}/${digest.sizeBytes}`]]);
      assert.equal(runner.requests.length, 0);
    });

    it("a file that turns out to be missing while it runs: FAILED_PRECONDITION; the run is cancelled", async () => {
      const digest = content.addBlob("lost");
      content.lose(digest);
      const response = await execute({
        inputRoot: { file: "lost" },
        runs: async (build, _request, cancelled) => {
          const file = await build.lookupPath(path("root/file"));
          await assert.rejects(async () => file?.type === 1 && (await file.read(0, 4)));
          await new Promise((resolve) => cancelled.addEventListener("abort", resolve));
          return {};
        },
      });
      endsWith(response, Code.FAILED_PRECONDITION, /missing/);
      assert.deepEqual(missing(response), [["MISSING", `blobs/${digest.hash}/4`]]);
    });

    it("such a file even where the command takes no notice: FAILED_PRECONDITION all the same", async () => {
      content.lose(content.addBlob("lost"));
      const response = await execute({
        inputRoot: { file: "lost" },
        runs: async (build) => {
          const file = await build.lookupPath(path("root/file"));
          await assert.rejects(async () => file?.type === 1 && (await file.read(0, 4)));
          return { exitCode: 0n };
        },
      });
      endsWith(response, Code.FAILED_PRECONDITION, /missing/);
    });

    it("an input that turns out to be missing while it is uploaded: FAILED_PRECONDITION, naming it", async () => {
      const digest = content.addTree({ file: "x" });
      const response = await execute({
        inputRoot: { out: { file: "x" } },
        command: { arguments: ["true"], outputPaths: ["out"] },
        runs: async () => {
          content.lose(digest);
          return {};
        },
      });
      endsWith(response, Code.FAILED_PRECONDITION, /missing/);
      assert.deepEqual(missing(response), [["MISSING", `blobs/${digest.hash}/${digest.sizeBytes}`]]);
    });

    it("more written than the quota allows: INVALID_ARGUMENT", async () => {
      quota = { maximumSizeBytes: 10 };
      const response = await execute({
        runs: async (build, _request, cancelled) => {
          await assert.rejects(build.createFile(path("root/file"), Buffer.alloc(11)));
          await new Promise((resolve) => cancelled.addEventListener("abort", resolve));
          return {};
        },
      });
      endsWith(response, Code.INVALID_ARGUMENT, /10 bytes/);
    });

    it("longer than the timeout: DEADLINE_EXCEEDED, with what there is of the outputs", async () => {
      const response = await execute({
        action: { timeoutSeconds: 0 },
        command: { arguments: ["sleep"], outputPaths: ["file"] },
        runs: async (build, _request, cancelled) => {
          await build.createFile(path("stdout"), Buffer.from("so far"));
          await build.createFile(path("root/file"), Buffer.from("half"));
          await new Promise((resolve) => cancelled.addEventListener("abort", resolve));
          return {};
        },
      });
      endsWith(response, Code.DEADLINE_EXCEEDED, /timeout of 0 s/);
      assert.deepEqual(stages, ["fetchingInputs", "running", "uploadingOutputs"]);
    });

    it("a runner that cannot run the command: the runner's own status", async () => {
      const response = await execute({
        runs: async () => {
          throw new StatusError(status(Code.INVALID_ARGUMENT, "nosuch: no such command"));
        },
      });
      endsWith(response, Code.INVALID_ARGUMENT, /nosuch: no such command/);
    });

    it("a runner that is not there: UNAVAILABLE", async () => {
      const lost = {
        run: () => Promise.reject(new StatusError(status(Code.UNAVAILABLE, "connection refused"))),
      };
      endsWith(await execute({ options: { runner: lost } }), Code.UNAVAILABLE, /connection refused/);
    });

    it("an upload that fails: its status, with the exit code", async () => {
      storage.uploadError = new StatusError(status(Code.UNAVAILABLE, "storage is away"));
      const response = await execute({
        command: { arguments: ["true"], outputPaths: ["file"] },
        runs: async (build) => {
          await build.createFile(path("root/file"), Buffer.from("x"));
          return { exitCode: 2n };
        },
      });
      endsWith(response, Code.UNAVAILABLE, /cannot upload outputs: storage is away/);
      assert.equal(response.result?.exitCode, 2);
    });

    it("a result that the action cache does not take: the cache's status", async () => {
      const blobAccess = Object.assign(storage, {
        updateActionResult: () => Promise.reject(new StatusError(status(Code.UNAVAILABLE, "cache is away"))),
      });
      const response = await execute({ options: { blobAccess } });
      endsWith(response, Code.UNAVAILABLE, /cannot record the result: cache is away/);
    });

    it("a failure that cannot be kept for bb_browser: storage's status", async () => {
      storage.uploadError = new StatusError(status(Code.UNAVAILABLE, "storage is away"));
      const response = await execute({ runs: async () => ({ exitCode: 1n }) });
      endsWith(response, Code.UNAVAILABLE, /cannot record the result: storage is away/);
      assert.equal(response.result?.exitCode, 1);
    });

    it("a cancelled action: the reason; nothing is uploaded", async () => {
      const abort = new AbortController();
      const response = await execute({
        signal: abort.signal,
        runs: async (_build, _request, cancelled) => {
          abort.abort(new StatusError(status(Code.CANCELLED, "no longer wanted")));
          await new Promise((resolve) => cancelled.addEventListener("abort", resolve));
          return {};
        },
      });
      endsWith(response, Code.CANCELLED, /no longer wanted/);
      assert.deepEqual(stages, ["fetchingInputs", "running"]);
    });

    /** Storage that answers no upload before it is told to stop. */
    const silentUploads = (uploading: (signal: AbortSignal) => void): ActionBlobAccess => ({
      command: (digest) => storage.command(digest),
      updateActionResult: (digest, result) => storage.updateActionResult(digest, result),
      uploadNew: (digest, bytes) => storage.uploadNew(digest, bytes),
      outputUploader: (_action, signal) => ({
        instanceName: "",
        digestFunction: SHA256,
        uploadBytes: async () => {},
        uploadFile: () =>
          new Promise((_, reject) => {
            signal.addEventListener("abort", () => reject(signal.reason));
            uploading(signal);
          }),
      }),
    });
    const writeOutput: FakeCommand = async (build) => {
      await build.createFile(["root", "out"], Buffer.from("content"));
      return {};
    };
    const command = { arguments: ["x"], outputPaths: ["out"] };

    it("an action cancelled while it uploads: the reason, without waiting for storage", async () => {
      const abort = new AbortController();
      const blobAccess = silentUploads(() =>
        abort.abort(new StatusError(status(Code.CANCELLED, "no longer wanted"))),
      );
      const response = await execute({
        command,
        signal: abort.signal,
        runs: writeOutput,
        options: { blobAccess },
      });
      endsWith(response, Code.CANCELLED, /cannot upload outputs: no longer wanted/);
    });

    it("an upload that takes too long: DEADLINE_EXCEEDED", async () => {
      const blobAccess = silentUploads(() => {});
      const response = await execute({
        command,
        runs: writeOutput,
        options: { blobAccess, maximumUploadDuration: 1 },
      });
      endsWith(response, Code.DEADLINE_EXCEEDED, /cannot upload outputs: it took longer than the 0\.001 s/);
    });

    it("a cancelled action whose CAS never answers: ends all the same", async () => {
      const abort = new AbortController();
      const silent = () => new Promise<never>(() => abort.abort(new Error("enough")));
      const inputs = { directory: silent, read: silent };
      const response = await execute({ signal: abort.signal, options: { inputs } });
      endsWith(response, Code.UNKNOWN, /enough/);
    });

    for (const [what, command, message] of [
      ["no arguments", {}, /arguments\[0\]/],
      [
        "an absolute output path",
        { arguments: ["x"], outputPaths: ["/etc/passwd"] },
        /"\/etc\/passwd" is absolute/,
      ],
      [
        "an output path that leaves the input root",
        { arguments: ["x"], outputPaths: ["a/../../b"] },
        /outside/,
      ],
      [
        "an absolute working directory",
        { arguments: ["x"], workingDirectory: "/" },
        /working directory "\/"/,
      ],
      [
        "outputs in what is a file",
        { arguments: ["x"], outputPaths: ["file/out"] },
        /"file".*must be a directory/,
      ],
      ["a NUL in a path", { arguments: ["x"], outputFiles: ["a\0b"] }, /NUL/],
      [
        "a path that no system call takes",
        { arguments: ["x"], outputPaths: ["d/".repeat(20_000)] },
        /^cannot .{1,300}… \(40000 characters\) is longer than 4095 bytes from the input root$/,
      ],
      [
        "such a path together with the working directory",
        { arguments: ["x"], workingDirectory: "d/".repeat(1000), outputPaths: ["e/".repeat(1100)] },
        /is longer than 4095 bytes/,
      ],
    ] as [string, CommandInit, RegExp][]) {
      it(`${what}: INVALID_ARGUMENT`, async () => {
        endsWith(await execute({ inputRoot: { file: "f" }, command }), Code.INVALID_ARGUMENT, message);
        assert.equal(runner.requests.length, 0);
      });
    }

    it("a parent of outputs that the command replaced by a symlink or a file: UNKNOWN, as from Buildbarn", async () => {
      for (const kind of ["symlink", "file"]) {
        const response = await execute({
          command: { arguments: ["x"], outputPaths: ["parent/output"] },
          runs: async (build) => {
            const root = await build.makeDirectories(path("root"));
            const credentials = { ...build.owner, supplementaryGroupIds: [] };
            await root.remove("parent");
            if (kind === "symlink") {
              await root.createSymlink("parent", credentials, Buffer.from("elsewhere"), {});
            } else {
              await build.createFile(path("root/parent"), Buffer.from("f"));
            }
            return {};
          },
        });
        endsWith(response, Code.UNKNOWN, /the parent "parent" of outputs is not a directory/);
      }
    });

    it("outputs of the older kinds that are of the other kind: FAILED_PRECONDITION", async () => {
      const response = await execute({
        command: { arguments: ["x"], outputFiles: ["made"] },
        runs: async (build) => {
          await build.makeDirectories(path("root/made"));
          return {};
        },
      });
      endsWith(response, Code.FAILED_PRECONDITION, /output file "made" turned out to be a directory/);
    });
  });

  it("serves the older output_files and output_directories as older clients know them", async () => {
    const response = await execute({
      inputRoot: { linkd: symlink("elsewhere") },
      command: { arguments: ["x"], outputFiles: ["d/file", "link"], outputDirectories: ["tree", "linkd"] },
      runs: async (build) => {
        assert.equal((await build.lookupPath(path("root/tree")))?.type, 2, "made for the command");
        await build.createFile(path("root/d/file"), Buffer.from("f"));
        const root = await build.makeDirectories(path("root"));
        await root.createSymlink(
          "link",
          { ...build.owner, supplementaryGroupIds: [] },
          Buffer.from("d/file"),
          {},
        );
        return {};
      },
    });
    endsOk(response);
    const result = response.result!;
    assert.deepEqual(
      result.outputFiles.map(({ path }) => path),
      ["d/file"],
    );
    assert.deepEqual(
      result.outputFileSymlinks.map(({ path, target }) => [path, target]),
      [["link", "d/file"]],
    );
    assert.deepEqual(
      result.outputDirectories.map(({ path }) => path),
      ["tree"],
    );
    assert.equal(result.outputSymlinks.length, 0);
  });

  function endsOk(response: ExecuteResponse): void {
    assert.equal(response.status, undefined, response.status?.message);
  }
});
