import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { unlessAborted } from "../../async/wait.ts";
import type { InputSource } from "../../cas/input-source.ts";
import type { CharacterDevice } from "../../config/bb-worker/character-devices.ts";
import type { Client } from "../../grpc/client.ts";
import { packAny, StatusError, status } from "../../grpc/status.ts";
import type { Credentials, Directory } from "../../nfs/file-system.ts";
import { FileType } from "../../nfs/file-system.ts";
import {
  type Action,
  type ActionResult,
  type Command,
  Command_OutputDirectoryFormat,
  ExecutedActionMetadataSchema,
  type ExecuteResponse,
  ExecuteResponseSchema,
} from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { DesiredState_Executing } from "../../proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import {
  InputRootResourceUsageSchema,
  type MonetaryResourceUsage_Expense,
} from "../../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import type { Runner, RunRequestSchema, RunResponse } from "../../proto/gen/buildbarn/runner/runner_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { Log } from "../../telemetry/log.ts";
import type { FilePoolUsage, InputAccess } from "../../vfs/index.ts";
import { Prefetching, type PrefetchingOptions } from "../prefetching/prefetching.ts";
import type { Execute, ExecutionContext } from "../scheduler/build-client.ts";
import type { ActionBlobAccess } from "./action-blob-access.ts";
import type { ActionDirectory, CreateActionDirectory } from "./action-directory.ts";
import { type ActionRequest, parseActionRequest } from "./action-request.ts";
import { createDeviceNodes } from "./device-nodes.ts";
import { attachError, isFailed } from "./execution-status.ts";
import { ExecutionTimeout } from "./execution-timeout.ts";
import { createParentDirectories, type OutputHierarchy, outputHierarchyOf } from "./output-hierarchy.ts";
import { type OutputUploader, uploadOutputs, uploadServerLogs } from "./output-upload.ts";
import { addCosts, addFilePoolUsage } from "./resource-usage.ts";
import { recordResult } from "./result-recording.ts";
import { Stages } from "./stages.ts";
import type { TestInfrastructureFailures } from "./test-infrastructure-failures.ts";
import { UploadDeadline } from "./upload-deadline.ts";

export interface ExecutorOptions {
  readonly blobAccess: ActionBlobAccess;
  /** Where the input root comes from. */
  readonly inputs: InputSource;
  readonly createDirectory: CreateActionDirectory;
  /** Absent if what actions read is neither fetched before nor taken down. */
  readonly prefetching?: PrefetchingOptions | undefined;
  readonly runner: Pick<Client<typeof Runner>, "run">;
  readonly instanceNamePrefix: string;
  readonly characterDevices: readonly CharacterDevice[];
  /** The owner of the directories that the worker makes. */
  readonly owner: Credentials;
  /** The action's own variables take precedence. */
  readonly environmentVariables: Readonly<Record<string, string>>;
  /** The worker thread's name in the result's metadata. */
  readonly workerName: string;
  /** Milliseconds. See {@link ExecutionTimeout}. */
  readonly maximumTimeoutCompensation: number;
  /** Milliseconds that hashing and uploading of outputs and logs may take. */
  readonly maximumUploadDuration: number;
  readonly forceUploadTreesAndDirectories: boolean;
  readonly costsPerSecond: Readonly<Record<string, MonetaryResourceUsage_Expense>>;
  /** One for the process. */
  readonly infrastructureFailures: TestInfrastructureFailures;
  /** undefined if they do not matter. */
  readonly maximumConsecutiveInfrastructureFailures: number | undefined;
  /** bb_browser's; "" if there is none. */
  readonly browserUrl: string;
  readonly log: Log;
}

/**
 * Makes the function that runs an action: it makes the action's directory, has the runner run the command, uploads
 * the outputs and removes the directory. Errors end up in the response's status; the first one stays, as later ones
 * tend to follow from it.
 */
export function createExecutor(options: ExecutorOptions): Execute {
  const { infrastructureFailures, maximumConsecutiveInfrastructureFailures } = options;
  const noteResult =
    maximumConsecutiveInfrastructureFailures &&
    infrastructureFailures.thread(maximumConsecutiveInfrastructureFailures);
  return async (request, { signal: ordered, ...others }) => {
    const signal = noteResult ? AbortSignal.any([ordered, infrastructureFailures.signal]) : ordered;
    const context = { ...others, signal };
    const response = newResponse(request, options.workerName);
    const stages = new Stages(response.result!.executionMetadata!, context.onStage);
    let action: ActionRequest | undefined;
    let usage: FilePoolUsage | undefined;
    try {
      action = parseActionRequest(request, options.instanceNamePrefix);
      await executeAction(action, request.action!, response, stages, context, options, (directory) => {
        usage = directory.build.quota.usage;
      });
    } catch (error) {
      attachError(response, context.signal.aborted ? context.signal.reason : error, "run the action");
    }
    stages.end();
    const metadata = response.result!.executionMetadata!;
    addFilePoolUsage(metadata, usage);
    addCosts(metadata, options.costsPerSecond);
    if (noteResult) {
      noteResult(response.result!);
      if (infrastructureFailures.signal.aborted) {
        attachError(response, infrastructureFailures.signal.reason, "run the action");
      }
    }
    if (action !== undefined && !ordered.aborted) {
      await recordResult(action, response, ordered, options);
    }
    return response;
  };
}

function newResponse(request: DesiredState_Executing, worker: string): ExecuteResponse {
  const { queuedTimestamp, auxiliaryMetadata } = request;
  return create(ExecuteResponseSchema, {
    result: {
      executionMetadata: create(ExecutedActionMetadataSchema, {
        worker,
        auxiliaryMetadata: [...auxiliaryMetadata],
        ...(queuedTimestamp && { queuedTimestamp }),
      }),
    },
  });
}

async function executeAction(
  action: ActionRequest,
  message: Action,
  response: ExecuteResponse,
  stages: Stages,
  context: ExecutionContext,
  options: ExecutorOptions,
  onDirectory: (directory: ActionDirectory) => void,
): Promise<void> {
  const fault = new AbortController();
  let timeout: ExecutionTimeout | undefined;
  await using actionDirectory = options.createDirectory({
    onFault: (error) => fault.abort(error),
    onWait: (settled) => timeout?.suspendUntil(settled),
  });
  onDirectory(actionDirectory);
  const prefetching =
    options.prefetching &&
    new Prefetching(options.prefetching, message, action.inputRootDigest, context.signal, (error) =>
      fault.abort(error),
    );
  await using _ = { [Symbol.asyncDispose]: async () => prefetching?.end() };

  stages.enter("fetchingInputs");
  // The CAS may never answer.
  const prepared = await unlessAborted(
    prepareDirectory(action, actionDirectory, prefetching?.access, context.signal, options),
    AbortSignal.any([context.signal, fault.signal]),
  );

  stages.enter("running");
  const millisecondsToRun = performance.now() - context.orderedAt;
  await runCommand(
    action,
    prepared.command,
    actionDirectory,
    response,
    fault.signal,
    context.signal,
    options,
    (started) => {
      timeout = started;
    },
  );
  options.log.info("ran the command", {
    action: action.actionDigest.hash,
    millisecondsToRun: Math.round(millisecondsToRun * 10) / 10,
    exitCode: response.result!.exitCode,
    status: response.status?.code,
  });
  if (context.signal.aborted) {
    return;
  }

  // Before the outputs are looked for, which is not the action's doing.
  const read = prefetching && { profile: prefetching.profile(), usage: prefetching.usage() };
  stages.enter("uploadingOutputs");
  await bringBackWrites(actionDirectory, response, fault.signal, context.signal);
  await upload(action, prepared, actionDirectory, response, fault.signal, context.signal, options);
  if (prefetching !== undefined && read !== undefined) {
    if (!isFailed(response) && response.result!.exitCode === 0) {
      await prefetching
        .store(read.profile, context.signal)
        .catch((error) => attachError(response, error, "store what the action read"));
    }
    const usage = packAny(InputRootResourceUsageSchema, read.usage);
    response.result!.executionMetadata!.auxiliaryMetadata.push(usage);
  }
}

interface PreparedDirectory {
  readonly command: Command;
  readonly hierarchy: OutputHierarchy;
  readonly inputRoot: Directory;
  readonly serverLogs: Directory;
}

/**
 * Places everything that the worker provides, before the command's kernel looks: it remembers which names do not
 * exist.
 */
async function prepareDirectory(
  action: ActionRequest,
  { build }: ActionDirectory,
  access: InputAccess | undefined,
  signal: AbortSignal,
  { blobAccess, inputs, characterDevices, owner }: ExecutorOptions,
): Promise<PreparedDirectory> {
  const inputRoot = await build.attachInputRoot(["root"], action.inputRootDigest, access);
  const [command, serverLogs] = await Promise.all([
    blobAccess.command(action.commandDigest, signal),
    build.makeDirectories(["server_logs"]),
    build.makeDirectories(["tmp"]),
    // Fetched here so that a missing input root is reported as such before anything runs.
    Promise.resolve(inputs.directory(action.inputRootDigest)).then(() =>
      createDeviceNodes(inputRoot, characterDevices, owner),
    ),
  ]);
  signal.throwIfAborted();
  if (command.arguments.length === 0) {
    throw new StatusError(
      status(Code.INVALID_ARGUMENT, "the command has no arguments: arguments[0] is what to run"),
    );
  }
  const hierarchy = outputHierarchyOf(command);
  await createParentDirectories(hierarchy, inputRoot, owner);
  return { command, hierarchy, inputRoot, serverLogs };
}

async function runCommand(
  action: ActionRequest,
  command: Command,
  actionDirectory: ActionDirectory,
  response: ExecuteResponse,
  fault: AbortSignal,
  cancelled: AbortSignal,
  { runner, environmentVariables, maximumTimeoutCompensation }: ExecutorOptions,
  onTimeout: (timeout: ExecutionTimeout) => void,
): Promise<void> {
  const expired = new AbortController();
  const timeout = new ExecutionTimeout(action.timeout, maximumTimeoutCompensation, () =>
    expired.abort(
      new StatusError(
        status(Code.DEADLINE_EXCEEDED, `it ran longer than its timeout of ${action.timeout / 1000} s`),
      ),
    ),
  );
  const stop = AbortSignal.any([cancelled, fault, expired.signal]);
  onTimeout(timeout);
  try {
    const request = runRequest(command, actionDirectory.path, environmentVariables);
    takeRunResponse(response, await runner.run(request, { signal: stop }));
    fault.throwIfAborted();
  } catch (error) {
    attachError(response, stop.aborted ? stop.reason : error, "run the command");
  } finally {
    response.result!.executionMetadata!.virtualExecutionDuration = durationFromMs(Math.round(timeout.stop()));
  }
}

function runRequest(
  command: Command,
  path: string,
  environmentVariables: Readonly<Record<string, string>>,
): MessageInitShape<typeof RunRequestSchema> {
  return {
    arguments: command.arguments,
    environmentVariables: {
      ...environmentVariables,
      ...Object.fromEntries(command.environmentVariables.map(({ name, value }) => [name, value])),
    },
    workingDirectory: command.workingDirectory,
    stdoutPath: `${path}/stdout`,
    stderrPath: `${path}/stderr`,
    inputRootDirectory: `${path}/root`,
    temporaryDirectory: `${path}/tmp`,
    serverLogsDirectory: `${path}/server_logs`,
  };
}

function takeRunResponse(response: ExecuteResponse, { exitCode, resourceUsage }: RunResponse): void {
  const result = response.result!;
  result.exitCode = Number(exitCode);
  result.executionMetadata!.auxiliaryMetadata.push(...resourceUsage);
}

/** What the command wrote last may still be in its kernel, and may exceed the quota. */
async function bringBackWrites(
  actionDirectory: ActionDirectory,
  response: ExecuteResponse,
  fault: AbortSignal,
  cancelled: AbortSignal,
): Promise<void> {
  try {
    await unlessAborted(actionDirectory.sync(), cancelled);
    fault.throwIfAborted();
  } catch (error) {
    attachError(response, fault.aborted ? fault.reason : error, "take what the command wrote");
  }
}

/**
 * The outputs of a failed command are uploaded as well: they help to find out why it failed. An output may still be an
 * input, or have parts of one, that cannot be read.
 */
async function upload(
  action: ActionRequest,
  { command, hierarchy, inputRoot, serverLogs }: PreparedDirectory,
  { build }: ActionDirectory,
  response: ExecuteResponse,
  fault: AbortSignal,
  cancelled: AbortSignal,
  { blobAccess, forceUploadTreesAndDirectories, maximumUploadDuration }: ExecutorOptions,
): Promise<void> {
  using deadline = new UploadDeadline(maximumUploadDuration);
  const stop = AbortSignal.any([cancelled, deadline.signal]);
  const attempt = async (doing: string, step: () => Promise<void>): Promise<void> => {
    try {
      await step();
      fault.throwIfAborted();
      stop.throwIfAborted();
    } catch (error) {
      if (stop.aborted && !fault.aborted) {
        attachError(response, stop.reason, "upload outputs");
      }
      attachError(response, fault.aborted ? fault.reason : error, doing);
    }
  };
  const uploader = blobAccess.outputUploader(action.actionDigest, stop);
  const result = response.result!;
  await Promise.all([
    attempt("upload standard output", async () => {
      assignDigest(result, "stdoutDigest", await uploadStream(build.directory, "stdout", uploader));
    }),
    attempt("upload standard error", async () => {
      assignDigest(result, "stderrDigest", await uploadStream(build.directory, "stderr", uploader));
    }),
    attempt("upload server logs", async () => {
      response.serverLogs = await uploadServerLogs(serverLogs, uploader);
    }),
    attempt("upload outputs", async () => {
      const { error, ...outputs } = await uploadOutputs(
        hierarchy,
        inputRoot,
        uploader,
        forceUploadTreesAndDirectories || wantsRootDirectories(command),
      );
      Object.assign(result, outputs);
      if (error !== undefined) {
        throw error;
      }
    }),
  ]);
}

function wantsRootDirectories({ outputDirectoryFormat }: Command): boolean {
  return (
    outputDirectoryFormat === Command_OutputDirectoryFormat.DIRECTORY_ONLY ||
    outputDirectoryFormat === Command_OutputDirectoryFormat.TREE_AND_DIRECTORY
  );
}

/** undefined for a stream that is empty, as most are, or that the runner never got to make. */
async function uploadStream(
  directory: Directory,
  name: string,
  uploader: OutputUploader,
): Promise<Digest | undefined> {
  const file = await directory.lookup(name);
  if (file?.type !== FileType.REGULAR || (await file.attributes()).size === 0) {
    return undefined;
  }
  return uploader.uploadFile(file, name);
}

function assignDigest(
  result: ActionResult,
  field: "stdoutDigest" | "stderrDigest",
  digest: Digest | undefined,
): void {
  if (digest !== undefined) {
    result[field] = digestMessage(digest);
  }
}
