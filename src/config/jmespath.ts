import { isDeepStrictEqual } from "node:util";
import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { compileJmespath, type Search } from "../jmespath/compile.ts";
import type { JmespathSettings } from "../jmespath/expression.ts";
import { isObject, toJson as jsonText, member, type ObjectValue } from "../jmespath/values.ts";
import type {
  Expression,
  File,
  TestVector,
} from "../proto/gen/buildbarn/configuration/jmespath/jmespath_pb.ts";
import { ConfigurationError } from "./error.ts";
import { all, each, type FieldPath } from "./field-path.ts";
import { refuse } from "./refuse.ts";
import { readable } from "./values.ts";

/** Throws {@link ConfigurationError} also where the expression does not do what its test vectors say. */
export function jmespathSettings(configuration: Expression | undefined, path: FieldPath): JmespathSettings {
  if (configuration === undefined) {
    throw new ConfigurationError(`${path} is missing: give {"expression": "…"}`);
  }
  const { expression, files, testVectors, ...rest } = configuration;
  refuse(rest, path);
  const settings = all({
    expression: () => {
      compiled(expression, path);
      return expression;
    },
    files: () => each(files, (file, index) => fileOf(file, path.field("files").index(index))),
  });
  const search = compiled(expression, path);
  const keys = new Set(settings.files.map(({ key }) => key));
  each(testVectors, (vector, index) => check(vector, search, keys, path.field("testVectors").index(index)));
  return settings;
}

function compiled(expression: string, path: FieldPath): Search {
  try {
    return compileJmespath(expression);
  } catch (error) {
    throw new ConfigurationError(`${path}.expression: ${(error as Error).message}`, { cause: error });
  }
}

function fileOf({ key, path: file, ...rest }: File, path: FieldPath): JmespathSettings["files"][number] {
  refuse(rest, path);
  return { key, path: readable(file, path.field("path")) };
}

function check(
  { input = {}, expectedOutput, ...rest }: TestVector,
  search: Search,
  keys: ReadonlySet<string>,
  path: FieldPath,
): void {
  refuse(rest, path);
  checkFiles(input, keys, path.field("input"));
  const expected = expectedOutput && toJson(ValueSchema, expectedOutput);
  const actual = outcome(search, input as ObjectValue);
  if (!("value" in actual) || !isDeepStrictEqual(actual.value, expected)) {
    const got = "value" in actual ? JSON.stringify(actual.value) : actual.error;
    throw new ConfigurationError(
      `${path}.expectedOutput: the expression makes ${got} of the input, not ${JSON.stringify(expected)}; ` +
        "correct the one or the other",
    );
  }
}

/** The input must stand for the same files as there are. */
function checkFiles(input: JsonObject, keys: ReadonlySet<string>, path: FieldPath): void {
  const files = member(input as ObjectValue, "files");
  const given = isObject(files) ? Object.keys(files) : [];
  const wrong = given.length !== keys.size || given.some((key) => !keys.has(key));
  if (wrong || (keys.size > 0 && !isObject(files))) {
    throw new ConfigurationError(
      `${path}: give "files" with the keys of the expression's files (${[...keys].join(", ") || "none"})`,
    );
  }
}

function outcome(
  search: Search,
  input: ObjectValue,
): { readonly value: JsonValue } | { readonly error: string } {
  try {
    return { value: JSON.parse(jsonText(search(input))) as JsonValue };
  } catch (error) {
    return { error: `an error (${(error as Error).message})` };
  }
}
