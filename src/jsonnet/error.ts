/** A place in a Jsonnet file; `line` and `column` count from 1. */
export interface Position {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

const MAXIMUM_PLACES = 12;

/**
 * What is wrong with a Jsonnet program. `message` begins with the reason; a line for each place follows, from the one at
 * fault outwards.
 */
export class JsonnetError extends Error {
  readonly reason: string;
  readonly #places: Position[] = [];

  constructor(reason: string, at?: Position) {
    super(reason);
    this.name = "JsonnetError";
    this.reason = reason;
    if (at !== undefined) {
      this.through(at);
    }
  }

  /** Adds the place from which the last one was reached. */
  through(at: Position): this {
    const last = this.#places.at(-1);
    const same = last?.file === at.file && last.line === at.line && last.column === at.column;
    if (!same && this.#places.length < MAXIMUM_PLACES) {
      this.#places.push(at);
      this.message += `\n    at ${at.file}:${at.line}:${at.column}`;
    }
    return this;
  }

  get hasPlace(): boolean {
    return this.#places.length > 0;
  }
}
