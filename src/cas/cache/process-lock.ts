import { readFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";

/**
 * Makes this process the only user of `what`, by a file at `path`. Rejects with an Error if another living
 * process has the file; that of a dead one is taken over. Two processes that start at the same moment do not
 * notice each other.
 */
export async function acquireProcessLock(path: string, what: string): Promise<void> {
  const owner = await readFile(path, "latin1").catch(() => "");
  const processId = Number(owner.split(" ")[0]);
  if (processId > 0 && processId !== process.pid && identity(processId) === owner) {
    throw new Error(`${what} is in use by process ${processId}; give each process a directory of its own`);
  }
  await writeFile(path, identity(process.pid) ?? "", { mode: 0o600 });
}

export async function releaseProcessLock(path: string): Promise<void> {
  await rm(path, { force: true });
}

/** The process's number with its start time, as numbers are used again; undefined if it is dead. */
function identity(processId: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${processId}/stat`, "latin1");
    // The name before these fields may hold anything, even spaces and parentheses.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTime] = [fields[0], fields[19]];
    return state === "Z" || state === "X" ? undefined : `${processId} ${startTime}`;
  } catch {
    return undefined;
  }
}
