import type { InputSource } from "../../cas/input-source.ts";
import type { CharacterDevice } from "../../config/bb-worker/character-devices.ts";
import { StatusError, status } from "../../grpc/status.ts";
import type { Credentials } from "../../nfs/file-system.ts";
import type { Command } from "../../proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import type { InputAccess } from "../../vfs/index.ts";
import type { ActionBlobAccess } from "./action-blob-access.ts";
import type { ActionDirectory } from "./action-directory.ts";
import type { ActionFolder } from "./action-files.ts";
import type { ActionRequest } from "./action-request.ts";
import { createDeviceNodes } from "./device-nodes.ts";
import {
  createParentDirectories,
  type OutputHierarchy,
  outputHierarchyOf,
} from "./outputs/output-hierarchy.ts";

export interface PrepareOptions {
  readonly blobAccess: ActionBlobAccess;
  /** Where the input root comes from. */
  readonly inputs: Pick<InputSource, "directory">;
  readonly characterDevices: readonly CharacterDevice[];
  /** The owner of the directories that the worker makes. */
  readonly owner: Credentials;
}

/** A directory in which the command can run. */
export interface PreparedDirectory {
  readonly command: Command;
  readonly hierarchy: OutputHierarchy;
  readonly inputRoot: ActionFolder;
  readonly serverLogs: ActionFolder;
}

/**
 * Places everything that the worker provides, before the command's kernel looks: it remembers which names do not
 * exist.
 */
export async function prepareDirectory(
  action: ActionRequest,
  actionDirectory: ActionDirectory,
  access: InputAccess | undefined,
  signal: AbortSignal,
  { blobAccess, inputs, characterDevices, owner }: PrepareOptions,
): Promise<PreparedDirectory> {
  const placeInputRoot = async (): Promise<ActionFolder> => {
    const attached = actionDirectory.attachInputRoot("root", action.inputRootDigest, { signal, access });
    // Fetched here so that a missing input root is reported as such before anything runs.
    const [inputRoot] = await Promise.all([attached, inputs.directory(action.inputRootDigest)]);
    await createDeviceNodes(inputRoot, characterDevices, owner);
    return inputRoot;
  };
  const [command, inputRoot, serverLogs] = await Promise.all([
    blobAccess.command(action.commandDigest, signal),
    placeInputRoot(),
    actionDirectory.makeDirectory("server_logs"),
    actionDirectory.makeDirectory("tmp"),
    actionDirectory.untilVisible(),
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
