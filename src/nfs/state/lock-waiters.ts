import type { Clients } from "./clients.ts";
import { findConflict } from "./locks.ts";
import type { Client, FileState, LockWaiter } from "./records.ts";

/** Waiters remembered per file. Beyond it, the oldest must ask again without being told. */
const MAXIMUM_WAITERS = 64;

/** An owner waits for one range of a file at a time. */
export function addWaiter(file: FileState, waiter: LockWaiter): void {
  removeWaiter(file, waiter.client, waiter.ownerKey);
  file.waiters ??= [];
  file.waiters.push(waiter);
  if (file.waiters.length > MAXIMUM_WAITERS) {
    file.waiters.shift();
  }
}

/** The owner has got the lock, or no longer waits. */
export function removeWaiter(file: FileState, client: Client, ownerKey: string): void {
  const { waiters } = file;
  if (waiters === undefined) {
    return;
  }
  const index = waiters.findIndex((waiter) => waiter.client === client && waiter.ownerKey === ownerKey);
  if (index >= 0) {
    waiters.splice(index, 1);
  }
  if (waiters.length === 0) {
    file.waiters = undefined;
  }
}

/** Removes and returns the waiters whose way no lock blocks any more. */
export function takeReady(file: FileState): readonly LockWaiter[] {
  const ready: LockWaiter[] = [];
  for (const waiter of file.waiters ?? []) {
    const owner = waiter.client.lockOwners.get(waiter.ownerKey);
    if (findConflict(file, owner, waiter.start, waiter.end, waiter.write) === undefined) {
      ready.push(waiter);
    }
  }
  for (const { client, ownerKey } of ready) {
    removeWaiter(file, client, ownerKey);
  }
  return ready;
}

/**
 * Ends the clients whose lease has run out and whose locks stand in the way of a waiter: it waits to be told, and might
 * not ask again for long.
 */
export function expireHolders(files: Iterable<FileState>, clients: Clients): void {
  for (const file of files) {
    for (const waiter of [...(file.waiters ?? [])]) {
      // A waiter that is silent itself gets the lock when it comes back and asks.
      let waits = !clients.isExpired(waiter.client);
      while (waits) {
        const owner = waiter.client.lockOwners.get(waiter.ownerKey);
        const conflict = findConflict(file, owner, waiter.start, waiter.end, waiter.write);
        waits = conflict !== undefined && clients.resolveConflict(conflict.state.client);
      }
    }
  }
}
