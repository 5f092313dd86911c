import { appendFile } from "node:fs/promises";
import type { CommandResult, HelperError, ResourceUsage } from "./spawn/command.ts";

const NO_USAGE: ResourceUsage = {
  userMicroseconds: 0n,
  systemMicroseconds: 0n,
  maximumResidentSetKibibytes: 0n,
  pageReclaims: 0n,
  pageFaults: 0n,
  swaps: 0n,
  blockInputOperations: 0n,
  blockOutputOperations: 0n,
  messagesSent: 0n,
  messagesReceived: 0n,
  signalsReceived: 0n,
  voluntaryContextSwitches: 0n,
  involuntaryContextSwitches: 0n,
};

/**
 * How Buildbarn's runner ends a chrooted command that cannot be executed: it has the input root's env(1) execute it,
 * which says so on standard error and exits with 127, or 126 for a file that is there. undefined for an error of
 * another kind.
 */
export async function absentCommand(
  error: HelperError,
  stderrPath: string,
): Promise<CommandResult | undefined> {
  if (error.stage !== "search" && error.stage !== "exec" && error.stage !== "interpreter") {
    return undefined;
  }
  const reason = error.stage === "interpreter" ? "No such interpreter or dynamic loader" : error.reason;
  await appendFile(stderrPath, `env: '${error.subject}': ${reason}\n`);
  const isThere = error.stage === "exec" && error.code !== "ENOENT";
  return { exitCode: isThere ? 126 : 127, signal: 0, usage: NO_USAGE };
}
