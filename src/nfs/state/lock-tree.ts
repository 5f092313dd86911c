import { type LockOffset, larger } from "./lock-offset.ts";

/** Removing a lock by itself takes as long as keeping about so many. */
const REMOVED_ONE_BY_ONE = 16;

/** A range that is locked; `end` is one past the last byte, or Infinity for a lock without an end. */
export interface LockedRange {
  readonly start: LockOffset;
  readonly end: LockOffset;
  readonly write: boolean;
  /** Later locks of the file have larger ones. */
  readonly serial: number;
}

interface Node<Lock> {
  readonly lock: Lock;
  readonly priority: number;
  left: Node<Lock> | undefined;
  right: Node<Lock> | undefined;
  /** The largest end of the locks in this subtree, and whether any of them is for writing. */
  end: LockOffset;
  writes: boolean;
}

/**
 * The locks of a file by the ranges that they cover: adding, removing and finding one take time logarithmic in their
 * number. (A treap in order of the starts, each node with the largest end below it.)
 */
export class LockTree<Lock extends LockedRange> {
  #root: Node<Lock> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  add(lock: Lock): void {
    this.#root = insert(this.#root, nodeOf(lock, Math.random()));
    this.#size++;
  }

  /** Removes the locks, which are in the tree: one by one if they are few, else by making it anew of those that stay. */
  delete(locks: readonly Lock[]): void {
    if (locks.length * REMOVED_ONE_BY_ONE < this.#size) {
      for (const lock of locks) {
        this.#root = remove(this.#root, lock);
      }
      this.#size -= locks.length;
      return;
    }
    const gone = new Set(locks);
    const kept: Lock[] = [];
    if (gone.size < this.#size) {
      collect(this.#root, (lock) => !gone.has(lock) && kept.push(lock));
    }
    this.#root = build(kept, 0, kept.length, 1);
    this.#size = kept.length;
  }

  /**
   * The first lock, in order of the starts, that overlaps the range and passes the test. `writesOnly` leaves out the
   * locks for reading.
   */
  find(
    start: LockOffset,
    end: LockOffset,
    writesOnly: boolean,
    test: (lock: Lock) => boolean,
  ): Lock | undefined {
    return find(this.#root, start, end, writesOnly, test);
  }
}

function nodeOf<Lock extends LockedRange>(lock: Lock, priority: number): Node<Lock> {
  return { lock, priority, left: undefined, right: undefined, end: lock.end, writes: lock.write };
}

function collect<Lock extends LockedRange>(node: Node<Lock> | undefined, visit: (lock: Lock) => void): void {
  if (node !== undefined) {
    collect(node.left, visit);
    visit(node.lock);
    collect(node.right, visit);
  }
}

/** A tree of the locks from `low` to before `high`, in order, with priorities below `bound` as if drawn at random. */
function build<Lock extends LockedRange>(
  locks: readonly Lock[],
  low: number,
  high: number,
  bound: number,
): Node<Lock> | undefined {
  if (low === high) {
    return undefined;
  }
  const middle = (low + high) >>> 1;
  const highest = bound * Math.random() ** (1 / (high - low));
  const node = nodeOf(locks[middle]!, highest);
  node.left = build(locks, low, middle, highest);
  node.right = build(locks, middle + 1, high, highest);
  return measured(node);
}

function find<Lock extends LockedRange>(
  node: Node<Lock> | undefined,
  start: LockOffset,
  end: LockOffset,
  writesOnly: boolean,
  test: (lock: Lock) => boolean,
): Lock | undefined {
  if (node === undefined || node.end <= start || (writesOnly && !node.writes)) {
    return undefined;
  }
  const before = find(node.left, start, end, writesOnly, test);
  if (before !== undefined) {
    return before;
  }
  const { lock } = node;
  if (lock.start >= end) {
    return undefined;
  }
  if (lock.end > start && (lock.write || !writesOnly) && test(lock)) {
    return lock;
  }
  return find(node.right, start, end, writesOnly, test);
}

/** By their starts; locks of the same start in the order in which they were made. */
function isBefore(one: LockedRange, other: LockedRange): boolean {
  return one.start < other.start || (one.start === other.start && one.serial < other.serial);
}

function insert<Lock extends LockedRange>(node: Node<Lock> | undefined, added: Node<Lock>): Node<Lock> {
  if (node === undefined) {
    return added;
  }
  if (added.priority > node.priority) {
    [added.left, added.right] = split(node, added.lock);
    return measured(added);
  }
  if (isBefore(added.lock, node.lock)) {
    node.left = insert(node.left, added);
  } else {
    node.right = insert(node.right, added);
  }
  return measured(node);
}

/** What comes before the lock, and what comes after it. */
function split<Lock extends LockedRange>(
  node: Node<Lock> | undefined,
  lock: Lock,
): [Node<Lock> | undefined, Node<Lock> | undefined] {
  if (node === undefined) {
    return [undefined, undefined];
  }
  if (isBefore(node.lock, lock)) {
    const [before, after] = split(node.right, lock);
    node.right = before;
    return [measured(node), after];
  }
  const [before, after] = split(node.left, lock);
  node.left = after;
  return [before, measured(node)];
}

function remove<Lock extends LockedRange>(node: Node<Lock> | undefined, lock: Lock): Node<Lock> | undefined {
  if (node === undefined) {
    return undefined;
  }
  if (node.lock === lock) {
    return join(node.left, node.right);
  }
  if (isBefore(lock, node.lock)) {
    node.left = remove(node.left, lock);
  } else {
    node.right = remove(node.right, lock);
  }
  return measured(node);
}

/** All of `before` comes before all of `after`. */
function join<Lock extends LockedRange>(
  before: Node<Lock> | undefined,
  after: Node<Lock> | undefined,
): Node<Lock> | undefined {
  if (before === undefined || after === undefined) {
    return before ?? after;
  }
  if (before.priority > after.priority) {
    before.right = join(before.right, after);
    return measured(before);
  }
  after.left = join(before, after.left);
  return measured(after);
}

function measured<Lock extends LockedRange>(node: Node<Lock>): Node<Lock> {
  const { lock, left, right } = node;
  let { end, write } = lock;
  for (const child of [left, right]) {
    if (child !== undefined) {
      end = larger(end, child.end);
      write ||= child.writes;
    }
  }
  node.end = end;
  node.writes = write;
  return node;
}
