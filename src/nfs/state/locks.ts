import type { LockOffset } from "./lock-offset.ts";
import { LockTree } from "./lock-tree.ts";
import type { ByteRangeLock, FileState, LockOwner, LockState } from "./records.ts";

/*
 * A file's locks are kept twice: by owner, each owner's in order of their starts, as they do not overlap
 * ({@link LockState.ranges}); and all together in a tree, to find those that are in another owner's way.
 */

/** A lock of another owner that conflicts, or undefined. */
export function findConflict(
  file: FileState,
  owner: LockOwner | undefined,
  start: LockOffset,
  end: LockOffset,
  write: boolean,
): ByteRangeLock | undefined {
  const { locks } = file;
  const own = owner?.states.get(file)?.ranges.length ?? 0;
  // Nobody else has any.
  if (locks === undefined || locks.size === own) {
    return undefined;
  }
  return locks.find(start, end, !write, (lock) => lock.state.owner !== owner);
}

/** Gives `state` the range; what it held there before is replaced (upgrade, downgrade, split). */
export function addLock(state: LockState, start: LockOffset, end: LockOffset, write: boolean): void {
  removeLock(state, start, end);
  const { ranges } = state;
  let from = start;
  let to = end;
  let first = endingAfter(ranges, start);
  let count = 0;
  // Adjacent ranges of the same kind merge, so that a file locked byte by byte stays one entry.
  const before = ranges[first - 1];
  if (before?.end === start && before.write === write) {
    from = before.start;
    first--;
    count++;
  }
  const after = ranges[first + count];
  if (after?.start === end && after.write === write) {
    to = after.end;
    count++;
  }
  replace(state, first, count, [makeLock(state, from, to, write)]);
}

/** Takes the range away from the owner of `state`, splitting locks that reach beyond it. */
export function removeLock(state: LockState, start: LockOffset, end: LockOffset): void {
  const { ranges } = state;
  const first = endingAfter(ranges, start);
  let last = first;
  while (last < ranges.length && ranges[last]!.start < end) {
    last++;
  }
  if (first === last) {
    return;
  }
  const kept: ByteRangeLock[] = [];
  const { start: from, write } = ranges[first]!;
  if (from < start) {
    kept.push(makeLock(state, from, start, write));
  }
  const { end: to, write: writeLast } = ranges[last - 1]!;
  if (to > end) {
    kept.push(makeLock(state, end, to, writeLast));
  }
  replace(state, first, last - first, kept);
}

/** Takes all ranges of the file from the owners of the states. */
export function removeAllLocks(file: FileState, states: Iterable<LockState>): void {
  const gone: ByteRangeLock[] = [];
  for (const { ranges, client } of states) {
    client.lockCount -= ranges.length;
    for (const lock of ranges.splice(0)) {
      gone.push(lock);
    }
  }
  if (gone.length > 0) {
    file.locks?.delete(gone);
  }
  if (file.locks?.size === 0) {
    file.locks = undefined;
  }
}

/** Whether taking the range away from the owner of `state` splits a lock in two. */
export function splitsLock({ ranges }: LockState, start: LockOffset, end: LockOffset): boolean {
  const lock = ranges[endingAfter(ranges, start)];
  return lock !== undefined && lock.start < start && lock.end > end;
}

/** Whether the state's owner holds any range of the file. */
export function holdsLocks(state: LockState): boolean {
  return state.ranges.length > 0;
}

function makeLock(state: LockState, start: LockOffset, end: LockOffset, write: boolean): ByteRangeLock {
  return { state, start, end, write, serial: state.file.nextLock++ };
}

/** Puts locks in the place of `count` of the state's, from the index `first` on. */
function replace(state: LockState, first: number, count: number, locks: readonly ByteRangeLock[]): void {
  const { file, ranges, client } = state;
  file.locks ??= new LockTree();
  const tree = file.locks;
  tree.delete(ranges.splice(first, count, ...locks));
  for (const lock of locks) {
    tree.add(lock);
  }
  client.lockCount += locks.length - count;
  if (tree.size === 0) {
    file.locks = undefined;
  }
}

/** The index of the first range that ends behind `offset`. */
function endingAfter(ranges: readonly ByteRangeLock[], offset: LockOffset): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (ranges[middle]!.end > offset) {
      high = middle;
    } else {
      low = middle + 1;
    }
  }
  return low;
}
