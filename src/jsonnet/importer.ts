import { readFileSync } from "node:fs";
import path from "node:path";
import { JsonnetError } from "./error.ts";

/** Reads the files that a program imports, each once. Paths are relative to the file that imports. */
export class Importer {
  readonly #files = new Map<string, Buffer>();

  /** Throws {@link JsonnetError} if the file cannot be read. */
  read(from: string, imported: string): { readonly file: string; readonly content: Buffer } {
    const file = path.isAbsolute(imported) ? imported : path.join(path.dirname(from), imported);
    let content = this.#files.get(file);
    if (content === undefined) {
      try {
        content = readFileSync(file);
      } catch (error) {
        throw new JsonnetError(`cannot import ${JSON.stringify(imported)}: ${(error as Error).message}`);
      }
      this.#files.set(file, content);
    }
    return { file, content };
  }
}
