import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { unlessAborted } from "../../async/wait.ts";
import type { AccessProfile } from "../../cas/file-system-access-cache.ts";
import type { Client } from "../../grpc/client.ts";
import { StatusError, status } from "../../grpc/status.ts";
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
import type { MonetaryResourceUsage_Expense } from "../../proto/gen/buildbarn/resourceusage/resourceusage_pb.ts";
import type { Runner, RunResponse } from "../../proto/gen/buildbarn/runner/runner_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { Digest } from "../../reapi/digest.ts";
import { digestMessage } from "../../reapi/wire-digest.ts";
import type { Log } from "../../telemetry/log.ts";
import { NO_TRACER, type Tracer } from "../../telemetry/tracing/spans.ts";
import { InputAccess } from "../../vfs/index.ts";
import type { ExecutionTimeouts } from "../compensation/execution-timeouts.ts";
import { type InputRootUsage, inputRootUsage } from "../prefetching/access-profile.ts";
import { Prefetching, type PrefetchingOptions } from "../prefetching/prefetching.ts";
import type { Execute, ExecutionContext } from "../scheduler/build-client.ts";
import { logEnded } from "../telemetry/action-log.ts";
import type { ActionMetrics } from "../telemetry/action-metrics.ts";
import {
  type ActionObserver,
  observedBlobAccess,
  observedInputs,
  together,
} from "../telemetry/action-observer.ts";
import { ActionTrace } from "../telemetry/action-trace.ts";
import { RunningActions } from "../telemetry/running-actions.ts";
import type { ActionDirectory, CreateActionDirectory } from "./action-directory.ts";
import type { ActionFolder } from "./action-files.ts";
import { type ActionRequest, parseActionRequest } from "./action-request.ts";
import { attachError, isFailed } from "./execution-status.ts";
import { ExecutionTimeout } from "./execution-timeout.ts";
import { nodeDescriber } from "./outputs/output-node-properties.ts";
import { type OutputUploader, uploadOutputs, uploadServerLogs } from "./outputs/output-upload.ts";
import { type PreparedDirectory, type PrepareOptions, prepareDirectory } from "./prepare-directory.ts";
import { addCosts, addFilePoolUsage, addInputRootUsage } from "./resource-usage.ts";
import { recordResult } from "./result-recording.ts";
import { runRequest } from "./run-request.ts";
import { Stages } from "./stages.ts";
import type { TestInfrastructureFailures } from "./test-infrastructure-failures.ts";
import { UploadDeadline } from "./upload-deadline.ts";

export interface ExecutorOptions extends PrepareOptions {
  readonly createDirectory: CreateActionDirectory;
  /** Absent if what actions read is neither fetched before nor taken down. */
  readonly prefetching?: PrefetchingOptions | undefined;
  /** Whether results say, as Buildbarn's do, what was looked at of the input root though nobody can tell. */
  readonly reportsUnknownAccess?: boolean;
  readonly runner: Pick<Client<typeof Runner>, "run">;
  readonly instanceNamePrefix: string;
  /** The action's own variables take precedence. */
  readonly environmentVariables: Readonly<Record<string, string>>;
  /** The worker thread's name in the result's metadata. */
  readonly workerName: string;
  /** Milliseconds. See {@link ExecutionTimeout}. */
  readonly maximumTimeoutCompensation: number;
  /** Of the whole process. */
  readonly executionTimeouts: Pick<ExecutionTimeouts, "add">;
  /** Milliseconds that hashing and uploading of outputs and logs may take. */
  readonly maximumUploadDuration: number;
  readonly forceUploadTreesAndDirectories: boolean;
  readonly costsPerSecond: Readonly<Record<string, MonetaryResourceUsage_Expense>>;
  /** One for the process. */
  readonly infrastructureFailures: TestInfrastructureFailures;
  /** undefined if they do not matter. */
  readonly maximumConsecutiveInfrastructureFailures: number | undefined;
  /** Gets each action while it runs, and remembers it for a while. */
  readonly runningActions?: RunningActions | undefined;
  /** Absent where there is no tracing. */
  readonly tracer?: Tracer | undefined;
  /** Gets what each action took. */
  readonly metrics?: ActionMetrics | undefined;
  /** bb_browser's; "" if there is none. */
  readonly browserUrl: string;
  readonly log: Log;
}

/** Of one action. */
interface ObservedOptions extends ExecutorOptions {
  readonly trace: ActionTrace;
  readonly observer: ActionObserver;
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
  const { tracer = NO_TRACER, runningActions = new RunningActions() } = options;
  return async (request, { signal: ordered, ...others }) => {
    const signal = noteResult ? AbortSignal.any([ordered, infrastructureFailures.signal]) : ordered;
    const trace = new ActionTrace(tracer, request);
    const { workerName: worker, instanceNamePrefix } = options;
    const progress = runningActions.begin(request, {
      worker,
      instanceNamePrefix,
      orderedAt: others.orderedAt,
    });
    const observer = together([trace, progress]);
    const observed: ObservedOptions = {
      ...options,
      trace,
      observer,
      blobAccess: observedBlobAccess(options.blobAccess, observer),
      inputs: observedInputs(options.inputs, observer),
    };
    const context: ExecutionContext = {
      ...others,
      signal,
      onStage(stage) {
        observer.enter(stage);
        others.onStage(stage);
      },
    };
    const response = newResponse(request, options.workerName);
    const stages = new Stages(response.result!.executionMetadata!, context.onStage);
    let action: ActionRequest | undefined;
    let directory: ActionDirectory | undefined;
    try {
      action = parseActionRequest(request, options.instanceNamePrefix);
      await executeAction(action, request.action!, response, stages, context, observed, (created) => {
        directory = created;
        progress.hasDirectory(created);
      });
    } catch (error) {
      attachError(response, context.signal.aborted ? context.signal.reason : error, "run the action");
    }
    stages.end();
    observer.endStage();
    const metadata = response.result!.executionMetadata!;
    if (options.reportsUnknownAccess) {
      addInputRootUsage(metadata, inputRootUsage(new InputAccess()));
    }
    addFilePoolUsage(metadata, directory?.usage);
    addCosts(metadata, options.costsPerSecond);
    if (noteResult) {
      noteResult(response.result!);
      if (infrastructureFailures.signal.aborted) {
        attachError(response, infrastructureFailures.signal.reason, "run the action");
      }
    }
    if (action !== undefined && !ordered.aborted) {
      await recordResult(action, response, ordered, observed);
    }
    trace.end(response);
    runningActions.end(progress, response);
    logEnded(options.log, progress);
    options.metrics?.ended(response, directory?.inputUsage());
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
  options: ObservedOptions,
  onDirectory: (directory: ActionDirectory) => void,
): Promise<void> {
  const fault = new AbortController();
  let timeout: ExecutionTimeout | undefined;
  await using actionDirectory = await options.createDirectory({
    actionDigest: action.doNotCache ? undefined : action.actionDigest,
    onFault: (error) => fault.abort(error),
    onWait(settled, digest) {
      timeout?.suspendUntil(settled);
      options.observer.waitsFor({ kind: "fetch", digest }, settled);
    },
  });
  onDirectory(actionDirectory);
  const prefetching =
    options.prefetching &&
    new Prefetching(options.prefetching, message, action.inputRootDigest, context.signal, (error) =>
      fault.abort(error),
    );
  let read: Read | undefined;
  await using _ = {
    [Symbol.asyncDispose]: async () => {
      await prefetching?.end();
      addInputRootUsage(response.result!.executionMetadata!, read?.usage ?? prefetching?.usage());
    },
  };

  stages.enter("fetchingInputs");
  // The CAS may never answer.
  const prepared = await unlessAborted(
    prepareDirectory(action, actionDirectory, prefetching?.access, context.signal, options),
    AbortSignal.any([context.signal, fault.signal]),
  );

  stages.enter("running");
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
  if (context.signal.aborted) {
    return;
  }

  // Before the outputs are looked for, which is not the action's doing.
  read = prefetching && { profile: prefetching.profile(), usage: prefetching.usage() };
  stages.enter("uploadingOutputs");
  await bringBackWrites(actionDirectory, response, fault.signal, context.signal);
  await upload(action, prepared, actionDirectory, response, fault.signal, context.signal, options);
  if (prefetching && read && !isFailed(response) && response.result!.exitCode === 0) {
    await prefetching
      .store(read.profile, context.signal)
      .catch((error) => attachError(response, error, "store what the action read"));
  }
}

/** What the command itself has read. */
interface Read {
  readonly profile: AccessProfile;
  readonly usage: InputRootUsage;
}

async function runCommand(
  action: ActionRequest,
  command: Command,
  actionDirectory: ActionDirectory,
  response: ExecuteResponse,
  fault: AbortSignal,
  cancelled: AbortSignal,
  { runner, environmentVariables, maximumTimeoutCompensation, executionTimeouts, trace }: ObservedOptions,
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
  using _ = executionTimeouts.add(timeout);
  const stop = AbortSignal.any([cancelled, fault, expired.signal]);
  onTimeout(timeout);
  try {
    const request = runRequest(command, actionDirectory.path, environmentVariables);
    takeRunResponse(response, await runner.run(request, { signal: stop, span: trace.current }));
    fault.throwIfAborted();
  } catch (error) {
    attachError(response, stop.aborted ? stop.reason : error, "run the command");
  } finally {
    response.result!.executionMetadata!.virtualExecutionDuration = durationFromMs(Math.round(timeout.stop()));
  }
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
  { directory }: ActionDirectory,
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
      assignDigest(result, "stdoutDigest", await uploadStream(directory, "stdout", uploader));
    }),
    attempt("upload standard error", async () => {
      assignDigest(result, "stderrDigest", await uploadStream(directory, "stderr", uploader));
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
        nodeDescriber(command.outputNodeProperties),
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
  directory: ActionFolder,
  name: string,
  uploader: OutputUploader,
): Promise<Digest | undefined> {
  const file = await directory.lookup(name);
  if (file?.type !== FileType.REGULAR || file.attributes().size === 0) {
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
