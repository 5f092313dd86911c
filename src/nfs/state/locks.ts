import { type LockOffset, larger, smaller } from "./lock-offset.ts";
import type { ByteRangeLock, FileState, LockState } from "./records.ts";

/** The first lock of another owner that conflicts, or undefined. */
export function findConflict(
  file: FileState,
  owner: unknown,
  start: LockOffset,
  end: LockOffset,
  write: boolean,
): ByteRangeLock | undefined {
  const locks = file.locks;
  if (locks === undefined) {
    return undefined;
  }
  for (const lock of locks) {
    if (lock.start >= end || start >= lock.end) {
      continue;
    }
    if (lock.state.owner !== owner && (write || lock.write)) {
      return lock;
    }
  }
  return undefined;
}

/** Gives `state` the range; what it held there before is replaced (upgrade, downgrade, split). */
export function addLock(state: LockState, start: LockOffset, end: LockOffset, write: boolean): void {
  const file = state.file;
  removeLock(state, start, end);
  file.locks ??= [];
  let from = start;
  let to = end;
  // Adjacent ranges of the same kind merge, so that a file locked byte by byte stays one entry.
  for (let index = file.locks.length - 1; index >= 0; index--) {
    const lock = file.locks[index]!;
    if (lock.end !== from && lock.start !== to) {
      continue;
    }
    if (lock.state.owner !== state.owner || lock.write !== write) {
      continue;
    }
    from = smaller(from, lock.start);
    to = larger(to, lock.end);
    file.locks.splice(index, 1);
    state.client.lockCount--;
  }
  file.locks.push({ state, start: from, end: to, write });
  state.client.lockCount++;
}

/** Takes the range away from the owner of `state`, splitting locks that reach beyond it. */
export function removeLock(state: LockState, start: LockOffset, end: LockOffset): void {
  const file = state.file;
  const locks = file.locks;
  // Usually there is nothing to take away, and no need to rebuild the list.
  if (!locks?.some((lock) => lock.start < end && start < lock.end && lock.state.owner === state.owner)) {
    return;
  }
  const kept: ByteRangeLock[] = [];
  for (const lock of locks) {
    if (lock.state.owner !== state.owner || lock.end <= start || end <= lock.start) {
      kept.push(lock);
      continue;
    }
    if (lock.start < start) {
      kept.push({ ...lock, end: start });
    }
    if (lock.end > end) {
      kept.push({ ...lock, start: end });
    }
  }
  state.client.lockCount += kept.length - locks.length;
  file.locks = kept.length > 0 ? kept : undefined;
}

/** Whether taking the range away from the owner of `state` splits a lock in two. */
export function splitsLock(state: LockState, start: LockOffset, end: LockOffset): boolean {
  const { owner, file } = state;
  return (
    file.locks?.some((lock) => lock.state.owner === owner && lock.start < start && lock.end > end) ?? false
  );
}

/** Whether the state's owner holds any range of the file. */
export function holdsLocks(state: LockState): boolean {
  return state.file.locks?.some((lock) => lock.state.owner === state.owner) ?? false;
}
