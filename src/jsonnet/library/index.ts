import { JsonnetError } from "../error.ts";
import { expectType, JsonnetObject, Thunk, typeOf, type Value } from "../values.ts";
import { ARRAYS } from "./arrays.ts";
import { type Library, lazy, strict } from "./builtin.ts";
import { format } from "./format.ts";
import { MANIFESTS } from "./manifests.ts";
import { NUMBERS } from "./numbers.ts";
import { OBJECTS } from "./objects.ts";
import { STRINGS } from "./strings.ts";

/** `std`, whose extVar(NAME) gives one of `variables`. std.trace writes to standard error. */
export function standardLibrary(variables: Readonly<Record<string, string>>): JsonnetObject {
  const library: Library = {
    ...NUMBERS,
    ...STRINGS,
    ...ARRAYS,
    ...OBJECTS,
    ...MANIFESTS,
    mod: strict("a, b", (a: Value, b: Value) => {
      if (typeof a === "string") {
        return format(a, b);
      }
      if (typeof a === "number" && typeof b === "number") {
        return expectType(NUMBERS.modulo!, "function").with(Thunk.of(a), Thunk.of(b));
      }
      throw new JsonnetError(
        `% needs two numbers, or a format and its values, not ${typeOf(a)} and ${typeOf(b)}`,
      );
    }),
    extVar: strict("x", (name: Value) => {
      const key = expectType(name, "string", "a variable's name");
      if (!Object.hasOwn(variables, key)) {
        throw new JsonnetError(`there is no external variable ${key}: set ${key} in the environment`);
      }
      return variables[key]!;
    }),
    native: strict("x", () => null),
    trace: lazy("str, rest", (text: Thunk, rest: Thunk) => {
      process.stderr.write(`TRACE: ${expectType(text.force(), "string", "what is traced")}\n`);
      return rest.force();
    }),
  };
  return JsonnetObject.of(
    Object.entries(library).map(([name, value]) => [name, () => value]),
    "::",
  );
}
