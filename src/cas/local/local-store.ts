import type { Log } from "../../telemetry/log.ts";
import { BlockAccess, SYNCHRONOUS_BYTES } from "./block-access.ts";
import { type Block, BlockRing, type RingTurnover } from "./block-ring.ts";
import { Epochs } from "./epochs.ts";
import { encodeIndex, IndexFile } from "./index-file.ts";
import { KeyLocationMap } from "./key-location-map.ts";
import {
  ALIGNMENT_BYTES,
  checkOf,
  contentOf,
  ENTRY_HEADER_BYTES,
  type EntryKey,
  entryBytes,
  entryKey,
  type Frame,
  frameCheck,
  type Identity,
  isEntry,
  offsetOf,
  setEntryHeader,
} from "./layout.ts";
import { type OpenedDevice, openDevice } from "./open-device.ts";
import type { LocalStoreContext, LocalStoreOptions, NewEntry, StoredEntry } from "./options.ts";
import { findBlocks, recoverEntries } from "./recovery.ts";

/**
 * Keeps blobs, and chunks of larger ones, in a ring of blocks, as Buildbarn's `local` backend does: see BlockRing. An
 * entry is appended to a block, several at a time where they come together, and never changed; blocks are given up as
 * a whole. Where entries are is known in memory, by KeyLocationMap. If the store is persistent, that is written to the
 * state directory now and then; what was added since then is found by the entries' headers.
 *
 * No failure of the disk is a failure of the store: what cannot be read or is not right is not there, what cannot be
 * written is not kept.
 */
export class LocalStore {
  /** Where a thread can read the blocks, too; undefined if they are in memory. */
  readonly path: string | undefined;
  /** Content that is larger cannot be stored. */
  readonly maximumContentBytes: number;
  /** Of all blocks. */
  readonly capacityBytes: number;
  readonly hierarchicalInstanceNames: boolean;
  readonly #access: BlockAccess;
  readonly #opened: OpenedDevice;
  readonly #trustMilliseconds: number;
  readonly #log: Log | undefined;
  readonly #now: () => number;
  readonly #ring: BlockRing;
  readonly #map: KeyLocationMap;
  readonly #epochs: Epochs | undefined;
  readonly #wholeReads = new Map<string, Promise<Uint8Array | undefined>>();
  #corruptEntries = 0;

  private constructor(options: LocalStoreOptions, context: LocalStoreContext, opened: OpenedDevice) {
    this.#opened = opened;
    this.path = opened.path;
    this.capacityBytes = opened.geometry.blockBytes * opened.geometry.blockCount;
    this.hierarchicalInstanceNames = options.hierarchicalInstanceNames;
    this.#trustMilliseconds = options.trustMilliseconds;
    this.#log = context.log;
    this.#now = context.now ?? (() => performance.now());
    this.#access = new BlockAccess({ opened, log: context.log, now: this.#now });
    this.#ring = new BlockRing({
      ...options,
      ...opened.geometry,
      begun: (block) => this.#access.begin(block),
    });
    this.maximumContentBytes = this.#ring.capacity - ENTRY_HEADER_BYTES - ALIGNMENT_BYTES;
    this.#map = new KeyLocationMap({
      ...options.keyLocationMap,
      isAlive: (turn) => this.#ring.block(turn) !== undefined,
      forgotten: (turn, contentBytes) => {
        const block = this.#ring.block(turn);
        if (block !== undefined) {
          block.entries--;
          block.contentBytes -= contentBytes;
        }
      },
    });
    this.#epochs =
      options.persistent &&
      new Epochs({
        file: new IndexFile(options.persistent.stateDirectoryPath),
        minimumMilliseconds: options.persistent.minimumEpochIntervalMilliseconds,
        encode: () => encodeIndex(this.#opened.identity, this.#ring.blocks, this.#map.records()),
        sync: () => this.#access.device.sync(),
        log: context.log,
      });
  }

  /**
   * Takes over what an earlier run left, if the store is persistent. Rejects with an Error that says what to do if it
   * is unusable, in use, or not such a store.
   */
  static async open(options: LocalStoreOptions, context: LocalStoreContext = {}): Promise<LocalStore> {
    const { oldBlocks, currentBlocks, newBlocks, spareBlocks, persistent, blocks } = options;
    const opened = openDevice(blocks, oldBlocks + currentBlocks + newBlocks + spareBlocks, {
      reformat: context.reformat ?? false,
      keepContents: persistent !== undefined,
    });
    try {
      const store = new LocalStore(options, context, opened);
      await store.#recover();
      return store;
    } catch (error) {
      opened.device.close();
      throw error;
    }
  }

  /** What frames for this store are made with. */
  get identity(): Identity {
    return this.#opened.identity;
  }

  /** Bytes of content. */
  get sizeBytes(): number {
    return this.#ring.blocks.reduce((sum, { contentBytes }) => sum + contentBytes, 0);
  }

  /** Entries. */
  get count(): number {
    return this.#ring.blocks.reduce((sum, { entries }) => sum + entries, 0);
  }

  /** What went to make room, since the store was opened. */
  turnover(): RingTurnover {
    return { ...this.#ring.turnover };
  }

  /** How many entries turned out not to be right. */
  get corruptEntries(): number {
    return this.#corruptEntries;
  }

  /**
   * The keys by which something may be stored for an instance name: for that itself, by which it is put, and where names
   * are hierarchical for those above it.
   */
  keysOf(name: string, instanceName: string): readonly [EntryKey, ...EntryKey[]] {
    if (!this.hierarchicalInstanceNames) {
      return [entryKey(this.#opened.identity, name)];
    }
    const segments = instanceName === "" ? [] : instanceName.split("/");
    const key = (length: number) =>
      entryKey(this.#opened.identity, `${name} ${segments.slice(0, length).join("/")}`);
    return [key(segments.length), ...segments.map((_, above) => key(segments.length - 1 - above))];
  }

  /** What is stored by one of the keys, with so much content. */
  find(keys: readonly EntryKey[], contentBytes: number): StoredEntry | undefined {
    for (const key of keys) {
      const slot = this.#map.find(key);
      if (slot !== undefined) {
        const location = this.#map.location(slot);
        if (location.contentBytes === contentBytes) {
          const block = this.#ring.block(location.turn)!;
          const mustReadWhole = this.#ring.isOld(block) || !this.#isTrusted(this.#map.validatedAt(slot));
          return { key, location, block, mustReadWhole };
        }
      }
    }
    return undefined;
  }

  /**
   * All of an entry's content, checked, and if `expectedCheck` is given also that it is the content with that check.
   * undefined, at once or later, if it was not right or cannot be read: then it is gone. An entry of an old block is
   * copied to a new one.
   */
  readWhole(
    entry: StoredEntry,
    expectedCheck?: Uint8Array,
  ): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    return entry.location.contentBytes <= SYNCHRONOUS_BYTES
      ? this.readWholeNow(entry, expectedCheck)
      : this.#readWholeLater(entry, expectedCheck);
  }

  /** The same, at once whatever its size. */
  readWholeNow(entry: StoredEntry, expectedCheck?: Uint8Array): Uint8Array | undefined {
    const { location } = entry;
    const frame = Buffer.allocUnsafeSlow(entryBytes(location.contentBytes));
    try {
      this.#access.readNow(entry.block, offsetOf(entry.location), frame);
    } catch (error) {
      return this.#drop(entry, error);
    }
    return this.#accepted(entry, frame, expectedCheck);
  }

  /** Part of an entry that need not be read whole; undefined, at once or later, if it cannot be read. */
  readPart(
    entry: StoredEntry,
    offset: number,
    count: number,
  ): Uint8Array | Promise<Uint8Array | undefined> | undefined {
    const content = Buffer.allocUnsafeSlow(count);
    const start = offsetOf(entry.location) + ENTRY_HEADER_BYTES + offset;
    if (count <= SYNCHRONOUS_BYTES) {
      try {
        this.#access.readNow(entry.block, start, content);
        return content;
      } catch (error) {
        return this.#drop(entry, error);
      }
    }
    return this.#access.read(this.#ring, entry.block, start, content).then(
      () => content,
      (error: unknown) => this.#drop(entry, error),
    );
  }

  /** The check of an entry's content, as its header says; undefined if that is not right. */
  readCheck(entry: StoredEntry): Buffer | undefined {
    const header = Buffer.alloc(ENTRY_HEADER_BYTES);
    try {
      this.#access.readNow(entry.block, offsetOf(entry.location), header);
    } catch (error) {
      return this.#drop(entry, error);
    }
    if (!isEntry(header, entry.location.turn, entry.key, entry.location.contentBytes)) {
      return this.#drop(entry, undefined);
    }
    return frameCheck(header);
  }

  /** Until it is released, the content stays where it is: at this position of {@link path}. */
  lease(entry: StoredEntry): { readonly position: number; release(): void } {
    entry.block.leases++;
    return {
      position: this.#access.position(entry.block, offsetOf(entry.location) + ENTRY_HEADER_BYTES),
      release: () => this.#ring.release(entry.block),
    };
  }

  /** Stores entries, in one go where that is possible. Returns or resolves to whether all of them are kept. */
  put(entries: readonly NewEntry[]): boolean | Promise<boolean> {
    if (entries.length === 0) {
      return true;
    }
    const bytes = entries.reduce((sum, { frame }) => sum + frame.length, 0);
    if (bytes > this.#ring.capacity && entries.length > 1) {
      const kept = entries.map((entry) => this.put([entry]));
      return Promise.all(kept).then((all) => all.every(Boolean));
    }
    const place = bytes > this.#ring.capacity ? undefined : this.#ring.allocate(bytes);
    if (place === undefined) {
      return false;
    }
    const { block, offset } = place;
    for (const { frame, key, contentBytes } of entries) {
      setEntryHeader(frame, block.turn, key, contentBytes);
    }
    const frames = entries.map(({ frame }) => frame);
    const written = this.#access.write(this.#ring, block, offset, frames, bytes);
    return written instanceof Promise
      ? this.#access.track(written.then((written) => written && this.#commit(entries, block, offset)))
      : written && this.#commit(entries, block, offset);
  }

  /** Forgets what is stored by one of the keys. */
  delete(keys: readonly EntryKey[]): void {
    for (const key of keys) {
      const slot = this.#map.find(key);
      if (slot !== undefined) {
        this.#map.remove(slot);
      }
    }
  }

  /** Writes the index to the state directory, if there is one and anything has changed. Rejects with an Error. */
  async persist(): Promise<void> {
    await this.#epochs?.end();
  }

  /** Waits for reads and writes in progress, and writes the index. */
  async close(): Promise<void> {
    await this.#access.settled();
    await this.#epochs?.close();
    this.#access.device.close();
  }

  async #recover(): Promise<void> {
    if (this.#epochs === undefined) {
      return;
    }
    const index = await this.#epochs.file.read(this.#opened.identity, this.#opened.geometry.blockBytes);
    const all = findBlocks(this.#access.device, this.#opened.geometry, this.#opened.identity);
    const blocks = this.#ring.restore(all, all.at(-1)?.turn ?? 0);
    recoverEntries(this.#access.device, this.#opened.geometry, blocks, index, (key, location) => {
      const block = this.#ring.block(location.turn)!;
      block.entries++;
      block.contentBytes += location.contentBytes;
      this.#map.put(key, location, 0);
    });
    this.#log?.info("blob store opened", { path: this.path, entries: this.count, bytes: this.sizeBytes });
  }

  async #readWholeLater(
    entry: StoredEntry,
    expectedCheck: Uint8Array | undefined,
  ): Promise<Uint8Array | undefined> {
    const { location } = entry;
    const id = `${location.turn} ${location.offset} ${expectedCheck?.toString() ?? ""}`;
    let read = this.#wholeReads.get(id);
    if (read === undefined) {
      read = this.#readAndCheck(entry, expectedCheck).finally(() => this.#wholeReads.delete(id));
      this.#wholeReads.set(id, read);
    }
    return read;
  }

  async #readAndCheck(
    entry: StoredEntry,
    expectedCheck: Uint8Array | undefined,
  ): Promise<Uint8Array | undefined> {
    const { contentBytes } = entry.location;
    const frame = Buffer.allocUnsafeSlow(entryBytes(contentBytes));
    try {
      await this.#access.read(this.#ring, entry.block, offsetOf(entry.location), frame);
    } catch (error) {
      return this.#drop(entry, error);
    }
    return this.#accepted(entry, frame, expectedCheck);
  }

  /** The content of what was read, if it is right. Notes that, and copies it if it would be given up soon. */
  #accepted(entry: StoredEntry, frame: Frame, expectedCheck: Uint8Array | undefined): Uint8Array | undefined {
    const { key, location, block } = entry;
    const content = contentOf(frame, location.contentBytes);
    if (
      !isEntry(frame, location.turn, key, location.contentBytes) ||
      !frameCheck(frame).equals(checkOf(content, this.identity)) ||
      (expectedCheck !== undefined && !frameCheck(frame).equals(expectedCheck))
    ) {
      return this.#drop(entry, undefined);
    }
    const slot = this.#slotOf(entry);
    if (slot !== undefined) {
      this.#map.setValidatedAt(slot, this.#seconds());
      if (this.#ring.isOld(block)) {
        void this.put([{ key, frame, contentBytes: location.contentBytes }]);
      }
    }
    return content;
  }

  /** The entry's slot in the map, if it is still the one that is found. */
  #slotOf({ key, location }: StoredEntry): number | undefined {
    const slot = this.#map.find(key);
    const found = slot === undefined ? undefined : this.#map.location(slot);
    return found?.turn === location.turn && found.offset === location.offset ? slot : undefined;
  }

  /** @param error Why it cannot be read; undefined if it is not what it should be. */
  #drop(entry: StoredEntry, error: unknown): undefined {
    const slot = this.#slotOf(entry);
    if (slot !== undefined) {
      this.#map.remove(slot);
      this.#corruptEntries++;
      this.#log?.warn("an entry of the blob store is not right, and dropped", { path: this.path, error });
    }
  }

  #commit(entries: readonly NewEntry[], block: Block, offset: number): boolean {
    // It may have been given up meanwhile.
    if (this.#ring.block(block.turn) !== block) {
      return false;
    }
    const seconds = this.#seconds();
    let next = offset;
    for (const { key, frame, contentBytes } of entries) {
      block.entries++;
      block.contentBytes += contentBytes;
      this.#map.put(key, { turn: block.turn, offset: next / ALIGNMENT_BYTES, contentBytes }, seconds);
      next += frame.length;
    }
    this.#epochs?.changed();
    return true;
  }

  #isTrusted(validatedAt: number): boolean {
    return (
      this.#trustMilliseconds > 0 &&
      validatedAt > 0 &&
      (this.#seconds() - validatedAt) * 1000 <= this.#trustMilliseconds
    );
  }

  /** Of the clock by which contents are trusted; above 0. */
  #seconds(): number {
    return Math.floor(this.#now() / 1000) + 1;
  }
}
