import type { Log } from "../../telemetry/log.ts";
import type { IndexFile } from "./index-file.ts";

export interface EpochsOptions {
  readonly file: IndexFile;
  readonly minimumMilliseconds: number;
  /** The index as it is now. */
  encode(): Buffer;
  /** Resolves when all that was written to the blocks before survives a power failure. */
  sync(): Promise<void>;
  readonly log: Log | undefined;
}

/** What a timer can wait for. */
const LONGEST_TIMER = 2 ** 31 - 1;

/** Writes the index to its file, some time after the first change since it was written last. */
export class Epochs {
  readonly file: IndexFile;
  readonly #options: EpochsOptions;
  #timer: NodeJS.Timeout | undefined;
  #hasChanged = false;
  /** Writing; one at a time, as all use the same temporary file. */
  #writing: Promise<void> = Promise.resolve();

  constructor(options: EpochsOptions) {
    this.file = options.file;
    this.#options = options;
  }

  changed(): void {
    this.#hasChanged = true;
    const { minimumMilliseconds } = this.#options;
    const end = () => void this.#endQuietly();
    this.#timer ??= setTimeout(end, Math.min(minimumMilliseconds, LONGEST_TIMER)).unref();
  }

  /** Writes the index now, if anything has changed. Rejects with an Error. */
  end(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const write = this.#writing.then(() => this.#write());
    this.#writing = write.catch(() => {});
    return write;
  }

  /** Writes what has changed last. */
  async close(): Promise<void> {
    await this.#endQuietly();
    clearTimeout(this.#timer);
  }

  async #endQuietly(): Promise<void> {
    try {
      await this.end();
    } catch (error) {
      this.#options.log?.warn("the index of the blob store cannot be written", {
        path: this.file.path,
        error,
      });
    }
  }

  async #write(): Promise<void> {
    if (!this.#hasChanged) {
      return;
    }
    this.#hasChanged = false;
    const index = this.#options.encode();
    try {
      // What the index names must be there before it is.
      await this.#options.sync();
      await this.file.write(index);
    } catch (error) {
      this.#hasChanged = true;
      throw error;
    }
  }
}
