import path from "node:path";
import { check } from "./checks.ts";
import { JsonnetError } from "./error.ts";
import { Importer } from "./importer.ts";
import { Interpreter, Scope } from "./interpreter.ts";
import { standardLibrary } from "./library/index.ts";
import { type Layout, manifest } from "./manifest.ts";
import { parse } from "./parser.ts";
import type { NodeOf } from "./syntax.ts";
import { JsonnetFunction, JsonnetObject, Thunk, type Value } from "./values.ts";

const OUTPUT: Layout = { indentation: "   ", lineBreak: "\n", colon: ": ", empty: " " };

/**
 * Evaluates Jsonnet to JSON text, as go-jsonnet 0.22 does. Imports are relative to the importing file, as `file` says
 * where it is; each of `variables` is available as std.extVar(NAME).
 *
 * Throws {@link JsonnetError}, whose message has file, line and column, if that fails.
 */
export function evaluateJsonnet(
  file: string,
  text: string,
  variables: Readonly<Record<string, string>>,
): string {
  try {
    const program = new Program(variables);
    let value = program.evaluate(file, text);
    if (value instanceof JsonnetFunction) {
      value = value.with();
    }
    return `${manifest(value, OUTPUT)}\n`;
  } catch (error) {
    if (error instanceof JsonnetError) {
      throw error.hasPlace ? error : error.through({ file, line: 1, column: 1 });
    }
    if (error instanceof RangeError) {
      throw new JsonnetError(
        `this is nested too deeply, or too large; is there an infinite recursion? (${error.message})`,
        {
          file,
          line: 1,
          column: 1,
        },
      );
    }
    throw error;
  }
}

class Program {
  readonly #library: JsonnetObject;
  readonly #importer = new Importer();
  readonly #imported = new Map<string, Thunk>();
  readonly #interpreter = new Interpreter((node) => this.#import(node));

  constructor(variables: Readonly<Record<string, string>>) {
    this.#library = standardLibrary(variables);
  }

  evaluate(file: string, text: string): Value {
    const node = parse(file, text);
    const own = JsonnetObject.of([["thisFile", () => file]], "::");
    const variables = new Map([["std", Thunk.of(this.#library.extend(own))]]);
    check(node, new Set(variables.keys()));
    return this.#interpreter.evaluateDeeper(node, new Scope(undefined, variables));
  }

  #import(node: NodeOf<"import">): Value {
    const { file, content } = this.#importer.read(node.at.file, node.path);
    if (node.form === "importbin") {
      return Array.from(content, (byte) => Thunk.of(byte));
    }
    const text = content.toString("utf8");
    if (node.form === "importstr") {
      return text;
    }
    const key = path.resolve(file);
    let value = this.#imported.get(key);
    if (value === undefined) {
      value = new Thunk(() => this.evaluate(file, text));
      this.#imported.set(key, value);
    }
    return value.force();
  }
}
