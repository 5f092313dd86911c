/** Byte-range locks against a model that looks at every lock, and the time that many of them take. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { DEFAULT_LIMITS } from "../../../src/nfs/limits.ts";
import { type LockOffset, larger, smaller } from "../../../src/nfs/state/lock-offset.ts";
import { addLock, findConflict, holdsLocks, removeLock, splitsLock } from "../../../src/nfs/state/locks.ts";
import type { LockState } from "../../../src/nfs/state/records.ts";
import { ServerState } from "../../../src/nfs/state/server-state.ts";

const ROOT = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

interface Range {
  readonly owner: number;
  readonly start: LockOffset;
  readonly end: LockOffset;
  readonly write: boolean;
}

/** The locks of a file as a plain list. */
class Model {
  locks: Range[] = [];

  conflicts(owner: number | undefined, start: LockOffset, end: LockOffset, write: boolean): Range[] {
    return this.locks.filter(
      (lock) => lock.owner !== owner && lock.start < end && start < lock.end && (write || lock.write),
    );
  }

  add(owner: number, start: LockOffset, end: LockOffset, write: boolean): void {
    this.remove(owner, start, end);
    let merged = { owner, start, end, write };
    for (const lock of [...this.locks]) {
      if (lock.owner !== owner || lock.write !== write) {
        continue;
      }
      if (lock.end === merged.start || lock.start === merged.end) {
        this.locks.splice(this.locks.indexOf(lock), 1);
        const from = smaller(lock.start, merged.start);
        merged = { owner, start: from, end: larger(lock.end, merged.end), write };
      }
    }
    this.locks.push(merged);
  }

  remove(owner: number, start: LockOffset, end: LockOffset): void {
    this.locks = this.locks.flatMap((lock) => {
      if (lock.owner !== owner || lock.end <= start || end <= lock.start) {
        return [lock];
      }
      const left = lock.start < start ? [{ ...lock, end: start }] : [];
      return lock.end > end ? [...left, { ...lock, start: end }] : left;
    });
  }
}

function setUp() {
  const file = new MemoryFileSystem().root.createFile("file", ROOT, {});
  const state = new ServerState(90, DEFAULT_LIMITS);
  const identity = { minorVersion: 1, owner: "client", verifierHigh: 0, verifierLow: 0, principal: "" };
  const client = state.clients.add(identity)!;
  const open = state.open(state.openOwner(client, "opener"), file, 3, 0);
  const lockState = (owner: number) => state.lockState(open, state.lockOwner(client, `${owner}`));
  return { state, client, open, lockState };
}

const FAR = 2n ** 60n;
const offset = fc.oneof(
  { weight: 8, arbitrary: fc.nat(40) },
  { weight: 1, arbitrary: fc.nat(10).map((more) => FAR + BigInt(more)) },
);
const range = fc
  .tuple(offset, fc.oneof(offset, fc.constant(Number.POSITIVE_INFINITY)))
  .filter(([start, end]) => start !== end)
  .map(([one, other]): [LockOffset, LockOffset] => (one < other ? [one, other] : [other, one]));
const step = fc.record({
  kind: fc.constantFrom("lock", "lock", "lock", "unlock", "end"),
  owner: fc.nat(4),
  range,
  write: fc.boolean(),
});

describe("the locks of a file", () => {
  it("are those of a plain list, whatever is locked, unlocked and ended", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const { state, client, open, lockState } = setUp();
        const model = new Model();
        for (const { kind, owner, range, write } of steps) {
          const [start, end] = range;
          const own = lockState(owner);
          if (kind === "lock") {
            const expected = model.conflicts(owner, start, end, write);
            const conflict = findConflict(open.file, own.owner, start, end, write);
            assert.equal(conflict === undefined, expected.length === 0);
            if (conflict === undefined) {
              addLock(own, start, end, write);
              model.add(owner, start, end, write);
            } else {
              assert.ok(expected.some((lock) => isSame(lock, conflict)));
            }
          } else if (kind === "unlock") {
            const splits = model.locks.some(
              (lock) => lock.owner === owner && lock.start < start && lock.end > end,
            );
            assert.equal(splitsLock(own, start, end), splits);
            removeLock(own, start, end);
            model.remove(owner, start, end);
          } else {
            state.removeLockState(own);
            model.remove(owner, 0, Number.POSITIVE_INFINITY);
          }
          const held = model.locks.filter((lock) => lock.owner === owner);
          assert.equal(holdsLocks(lockState(owner)), held.length > 0);
          assert.equal(client.lockCount, model.locks.length);
          assert.equal(open.file.locks?.size ?? 0, model.locks.length);
        }
        for (let at = 0; at <= 40; at++) {
          for (const write of [false, true]) {
            const found = findConflict(open.file, undefined, at, at + 1, write) !== undefined;
            assert.equal(found, model.conflicts(undefined, at, at + 1, write).length > 0);
          }
        }
        state.close(open);
        assert.deepEqual([open.file.locks, client.lockCount, client.lockOwners.size], [undefined, 0, 0]);
      }),
      { numRuns: 300 },
    );
  });

  it("are compared with few others, however many there are", () => {
    const { open, lockState } = setUp();
    const states: LockState[] = [];
    for (let index = 0; index < 10_000; index++) {
      const own = lockState(index % 100);
      states.push(own);
      addLock(own, 3 * index, 3 * index + 1, index % 2 === 0);
    }
    let compared = 0;
    const test = () => {
      compared++;
      return false;
    };
    open.file.locks!.find(15_000, 15_001, false, test);
    open.file.locks!.find(0, Number.POSITIVE_INFINITY, true, test);
    assert.equal(compared, 1 + 5000);
    const conflict = findConflict(open.file, undefined, 29_997, 30_000, false);
    assert.deepEqual(conflict, undefined);
    assert.equal(findConflict(open.file, states[1]!.owner, 29_994, 30_000, false)?.start, 29_994);
  });
});

function isSame(lock: Range, other: { start: LockOffset; end: LockOffset; write: boolean }): boolean {
  return lock.start === other.start && lock.end === other.end && lock.write === other.write;
}
