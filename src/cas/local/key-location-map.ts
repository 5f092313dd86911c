import type { EntryKey } from "./layout.ts";

export interface KeyLocationMapOptions {
  /** In entries. The map begins small and grows up to this. */
  readonly maximumEntries: number;
  /** How many places an entry may be at. */
  readonly maximumGetAttempts: number;
  /** How many entries one that is put may make move. */
  readonly maximumPutAttempts: number;
  /** Whether the block of that turn is still there. What lies in others is forgotten. */
  isAlive(turn: number): boolean;
  /** Called when an entry of a living block is replaced, or given up since the map is too full. */
  forgotten(turn: number, contentBytes: number): void;
}

/** The words of a slot: four of the key, then these. A turn of 0 marks a slot that was never used. */
const TURN = 4;
/** In units of 16 bytes, from the block's beginning. */
const OFFSET = 5;
const SIZE = 6;
/** 8 bits: how many places were taken when it was put; 1 bit: removed; the rest: see validatedAt(). */
const FLAGS = 7;
const SLOT_WORDS = 8;
/** What is kept of a slot in an index: all but the flags. */
export const RECORD_WORDS = FLAGS;

const ATTEMPT_MASK = 0xff;
const REMOVED = 0x100;
const VALIDATED_SHIFT = 9;
const LARGEST_VALIDATION_TIME = 2 ** (32 - VALIDATED_SHIFT) - 1;

const SMALLEST_MAP = 1024;
/** Above this, the map grows. */
const MAXIMUM_LOAD = 0.6;

/** Where an entry is. */
export interface EntryLocation {
  readonly turn: number;
  /** In units of 16 bytes, from the block's beginning. */
  readonly offset: number;
  readonly contentBytes: number;
}

/**
 * Says in which block, and where in it, an entry lies: 32 bytes for each of its slots, of which at most 60% are used
 * while it can grow.
 *
 * As in Buildbarn's, an entry whose place is taken by an older one takes that place, and the older one moves on. So once
 * a search comes to an entry of a block that is gone, all that would follow is gone as well, and no entry ever has to be
 * cleaned away. A removed entry stays in its slot, with a mark, for the same reason.
 */
export class KeyLocationMap {
  readonly #options: KeyLocationMapOptions;
  readonly #maximumSlots: number;
  /** A prime, so that the places of an entry differ. */
  #slotCount: number;
  #slots: Uint32Array;
  /** What is being put, and what it makes move: there are too many for an object each. */
  readonly #record = new Uint32Array(SLOT_WORDS);
  readonly #moving = new Uint32Array(SLOT_WORDS);
  /** Slots that are in use, by living entries or others. */
  #used = 0;

  constructor(options: KeyLocationMapOptions) {
    this.#options = options;
    this.#maximumSlots = primeUpTo(options.maximumEntries);
    this.#slotCount = Math.min(primeUpTo(SMALLEST_MAP), this.#maximumSlots);
    this.#slots = new Uint32Array(this.#slotCount * SLOT_WORDS);
  }

  get sizeBytes(): number {
    return this.#slots.byteLength;
  }

  /** A number for the other methods, good until the next put(); undefined if there is no such entry. */
  find(key: EntryKey): number | undefined {
    const slots = this.#slots;
    for (let attempt = 0; attempt < this.#options.maximumGetAttempts; attempt++) {
      const slot = this.#slotFor(key[0]!, key[1]!, key[2]!, attempt);
      const turn = slots[slot + TURN]!;
      if (turn === 0 || !this.#options.isAlive(turn)) {
        return undefined;
      }
      if (sameKey(slots, slot, key)) {
        return (slots[slot + FLAGS]! & REMOVED) === 0 ? slot : undefined;
      }
    }
    return undefined;
  }

  location(slot: number): EntryLocation {
    return {
      turn: this.#slots[slot + TURN]!,
      offset: this.#slots[slot + OFFSET]!,
      contentBytes: this.#slots[slot + SIZE]!,
    };
  }

  /** When the content was last found to be right, in seconds of the caller's clock; 0 for never. */
  validatedAt(slot: number): number {
    return this.#slots[slot + FLAGS]! >>> VALIDATED_SHIFT;
  }

  setValidatedAt(slot: number, seconds: number): void {
    const flags = this.#slots[slot + FLAGS]! & (REMOVED | ATTEMPT_MASK);
    this.#slots[slot + FLAGS] = flags | (Math.min(seconds, LARGEST_VALIDATION_TIME) << VALIDATED_SHIFT);
  }

  remove(slot: number): void {
    this.#options.forgotten(this.#slots[slot + TURN]!, this.#slots[slot + SIZE]!);
    this.#slots[slot + FLAGS] = this.#slots[slot + FLAGS]! | REMOVED;
  }

  /** Takes the entry in, in place of an older one with that key. */
  put(key: EntryKey, { turn, offset, contentBytes }: EntryLocation, validatedAt: number): void {
    if (this.#used + 1 > this.#slotCount * MAXIMUM_LOAD && this.#slotCount < this.#maximumSlots) {
      this.#resize(SMALLEST_MAP);
    }
    const record = this.#record;
    for (let word = 0; word < TURN; word++) {
      record[word] = key[word]!;
    }
    record[TURN] = turn;
    record[OFFSET] = offset;
    record[SIZE] = contentBytes;
    record[FLAGS] = Math.min(validatedAt, LARGEST_VALIDATION_TIME) << VALIDATED_SHIFT;
    this.#putRecord();
  }

  /** All entries of living blocks, {@link RECORD_WORDS} each: four of the key, turn, offset and size. */
  records(): Uint32Array<ArrayBuffer> {
    const slots = this.#slots;
    const records = new Uint32Array((slots.length / SLOT_WORDS) * RECORD_WORDS);
    let end = 0;
    for (let slot = 0; slot < slots.length; slot += SLOT_WORDS) {
      if (this.#isLiving(slots, slot) && (slots[slot + FLAGS]! & REMOVED) === 0) {
        for (let word = 0; word < RECORD_WORDS; word++) {
          records[end++] = slots[slot + word]!;
        }
      }
    }
    return records.subarray(0, end);
  }

  /** Puts what is in {@link #record}. */
  #putRecord(): void {
    const { maximumGetAttempts, maximumPutAttempts, forgotten } = this.#options;
    const slots = this.#slots;
    let record = this.#record;
    let moving = this.#moving;
    for (let iteration = 0; iteration < maximumPutAttempts; iteration++) {
      const attempt = record[FLAGS]! & ATTEMPT_MASK;
      if (attempt >= maximumGetAttempts) {
        break;
      }
      const slot = this.#slotFor(record[0]!, record[1]!, record[2]!, attempt);
      if (!this.#isLiving(slots, slot)) {
        this.#used += slots[slot + TURN] === 0 ? 1 : 0;
        copySlot(record, 0, slots, slot);
        return;
      }
      if (sameKey(slots, slot, record)) {
        if (isOlder(slots, slot, record) || (slots[slot + FLAGS]! & REMOVED) !== 0) {
          this.#forget(slots, slot);
          copySlot(record, 0, slots, slot);
        } else {
          forgotten(record[TURN]!, record[SIZE]!);
        }
        return;
      }
      if (isOlder(slots, slot, record)) {
        copySlot(slots, slot, moving, 0);
        copySlot(record, 0, slots, slot);
        [record, moving] = [moving, record];
      }
      record[FLAGS] = record[FLAGS]! + 1;
    }
    if (this.#slotCount < this.#maximumSlots) {
      const waiting = record.slice();
      // Long runs of taken places are in the way, whatever the load is.
      this.#resize(this.#slotCount + SMALLEST_MAP);
      waiting[FLAGS] = waiting[FLAGS]! & ~ATTEMPT_MASK;
      copySlot(waiting, 0, this.#record, 0);
      this.#putRecord();
      return;
    }
    this.#forget(record, 0);
  }

  #forget(slots: Uint32Array, slot: number): void {
    if ((slots[slot + FLAGS]! & REMOVED) === 0) {
      this.#options.forgotten(slots[slot + TURN]!, slots[slot + SIZE]!);
    }
  }

  #isLiving(slots: Uint32Array, slot: number): boolean {
    const turn = slots[slot + TURN]!;
    return turn !== 0 && this.#options.isAlive(turn);
  }

  /** Drops the entries of blocks that are gone, and makes room for the others and as many more. */
  #resize(smallest: number): void {
    const old = this.#slots;
    let living = 0;
    for (let slot = 0; slot < old.length; slot += SLOT_WORDS) {
      living += this.#isLiving(old, slot) ? 1 : 0;
    }
    this.#slotCount = Math.min(primeUpTo(Math.max(living * 3, smallest)), this.#maximumSlots);
    this.#slots = new Uint32Array(this.#slotCount * SLOT_WORDS);
    this.#used = 0;
    for (let slot = 0; slot < old.length; slot += SLOT_WORDS) {
      if (this.#isLiving(old, slot)) {
        copySlot(old, slot, this.#record, 0);
        this.#record[FLAGS] = this.#record[FLAGS]! & ~ATTEMPT_MASK;
        this.#putRecord();
      }
    }
  }

  /** Where the entry's attempt is, as an index of its first word. */
  #slotFor(first: number, second: number, third: number, attempt: number): number {
    const start = (first ^ Math.imul(second, 0x9e3779b1)) >>> 0;
    return ((start + attempt * ((third | 1) >>> 0)) % this.#slotCount) * SLOT_WORDS;
  }
}

/** The largest prime that is not above the number; for 1, that itself. */
function primeUpTo(number: number): number {
  for (let candidate = number; candidate > 3; candidate--) {
    let divisor = 2;
    while (divisor * divisor <= candidate && candidate % divisor !== 0) {
      divisor++;
    }
    if (divisor * divisor > candidate) {
      return candidate;
    }
  }
  return number;
}

function copySlot(from: Uint32Array, start: number, to: Uint32Array, target: number): void {
  for (let word = 0; word < SLOT_WORDS; word++) {
    to[target + word] = from[start + word]!;
  }
}

function sameKey(slots: Uint32Array, slot: number, key: Uint32Array): boolean {
  return (
    slots[slot] === key[0] &&
    slots[slot + 1] === key[1] &&
    slots[slot + 2] === key[2] &&
    slots[slot + 3] === key[3]
  );
}

function isOlder(slots: Uint32Array, slot: number, record: Uint32Array): boolean {
  const turn = slots[slot + TURN]!;
  return turn < record[TURN]! || (turn === record[TURN] && slots[slot + OFFSET]! < record[OFFSET]!);
}
