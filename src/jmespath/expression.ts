import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { compileJmespath, type Search } from "./compile.ts";
import type { ObjectValue, Value } from "./values.ts";

/** What Buildbarn's jmespath.Expression says, as plain data. */
export interface JmespathSettings {
  readonly expression: string;
  /** Their contents are members of `files`, by key. */
  readonly files: readonly { readonly key: string; readonly path: string }[];
}

/** How often files are read again. */
const REFRESH_MILLISECONDS = 60_000;

/** An expression, and the files that it may read. They are read again now and then, until it is disposed of. */
export class JmespathExpression implements Disposable {
  readonly #search: Search;
  readonly #files: JmespathSettings["files"];
  #contents: ObjectValue;
  readonly #timer: NodeJS.Timeout | undefined;

  /** Throws a JmespathError for what is no expression, and an Error for a file that cannot be read. */
  constructor({ expression, files }: JmespathSettings) {
    this.#search = compileJmespath(expression);
    this.#files = files;
    this.#contents = Object.fromEntries(files.map(({ key, path }) => [key, readFileSync(path, "utf8")]));
    if (files.length > 0) {
      this.#timer = setInterval(() => void this.refresh(), REFRESH_MILLISECONDS);
      this.#timer.unref();
    }
  }

  /** What the expression makes of the input, and of the files. Throws a JmespathError. */
  search(input: ObjectValue): Value {
    return this.#search(this.#files.length > 0 ? { ...input, files: this.#contents } : input);
  }

  /** Reads the files now. Of one that cannot be read, what was in it before stays. */
  async refresh(): Promise<void> {
    const contents = this.#files.map(async ({ key, path }) => [
      key,
      await readFile(path, "utf8").catch(() => this.#contents[key]!),
    ]);
    this.#contents = Object.fromEntries(await Promise.all(contents)) as ObjectValue;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}
