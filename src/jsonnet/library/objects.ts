import { JsonnetError } from "../error.ts";
import { textOf } from "../manifest.ts";
import { compare, equals } from "../operators.ts";
import { expectType, type JsonnetFunction, JsonnetObject, Thunk, typeOf, type Value } from "../values.ts";
import { arrayOf, asBoolean, asObject, asString, type Library, lazy, strict } from "./builtin.ts";

function values(of: Value, withHidden: boolean): Thunk[] {
  return asObject(of)
    .fieldNames(withHidden)
    .map((name) => new Thunk(() => asObject(of).get(name)));
}

function keysValues(of: Value, withHidden: boolean): Thunk[] {
  return asObject(of)
    .fieldNames(withHidden)
    .map((name) =>
      Thunk.of(
        JsonnetObject.of([
          ["key", () => name],
          ["value", () => asObject(of).get(name)],
        ]),
      ),
    );
}

function prune(value: Value): Value {
  if (Array.isArray(value)) {
    return arrayOf(
      value.map((element: Thunk) => prune(element.force())).filter((element) => !isNothing(element)),
    );
  }
  if (value instanceof JsonnetObject) {
    return JsonnetObject.of(
      value
        .fieldNames()
        .map((name) => [name, prune(value.get(name))] as const)
        .filter(([, field]) => !isNothing(field))
        .map(([name, field]) => [name, () => field]),
    );
  }
  return value;
}

function isNothing(value: Value): boolean {
  return (
    value === null ||
    (Array.isArray(value) && value.length === 0) ||
    (value instanceof JsonnetObject && value.fieldNames().length === 0)
  );
}

/** RFC 7396. */
function mergePatch(target: Value, patch: Value): Value {
  if (!(patch instanceof JsonnetObject)) {
    return patch;
  }
  const base = target instanceof JsonnetObject ? target : JsonnetObject.of([]);
  const kept = base.fieldNames().filter((name) => !patch.has(name, false));
  const patched = patch.fieldNames().filter((name) => patch.get(name) !== null);
  return JsonnetObject.of([
    ...kept.map((name) => [name, () => base.get(name)] as const),
    ...patched.map(
      (name) =>
        [name, () => mergePatch(base.has(name, false) ? base.get(name) : null, patch.get(name))] as const,
    ),
  ]);
}

function ofType(name: string): JsonnetFunction {
  return strict("v", (value: Value) => typeOf(value) === name);
}

function ordered(fits: (order: number) => boolean): JsonnetFunction {
  return strict("arr1, arr2", (left: Value, right: Value) => fits(compare(left, right)));
}

export const OBJECTS: Library = {
  type: strict("x", typeOf),
  isString: ofType("string"),
  isNumber: ofType("number"),
  isBoolean: ofType("boolean"),
  isObject: ofType("object"),
  isArray: ofType("array"),
  isFunction: ofType("function"),
  isNull: ofType("null"),
  id: strict("x", (value: Value) => value),
  equals: strict("a, b", equals),
  primitiveEquals: strict("x, y", equals),
  assertEqual: strict("a, b", (a: Value, b: Value) => {
    if (!equals(a, b)) {
      throw new JsonnetError(`${textOf(a)} is not equal to ${textOf(b)}`);
    }
    return true;
  }),
  __compare: strict("v1, v2", (left: Value, right: Value) => Math.sign(compare(left, right))),
  __compare_array: strict("arr1, arr2", (left: Value, right: Value) => Math.sign(compare(left, right))),
  __array_less: ordered((order) => order < 0),
  __array_less_or_equal: ordered((order) => order <= 0),
  __array_greater: ordered((order) => order > 0),
  __array_greater_or_equal: ordered((order) => order >= 0),
  get: lazy("o, f, default?, inc_hidden?", (of: Thunk, name: Thunk, fallback?: Thunk, withHidden?: Thunk) => {
    const field = asString(name.force());
    return asObject(of.force()).has(field, withHidden === undefined || asBoolean(withHidden.force()))
      ? asObject(of.force()).get(field)
      : (fallback?.force() ?? null);
  }),
  objectHas: strict("o, f", (of: Value, name: Value) => asObject(of).has(asString(name), false)),
  objectHasAll: strict("o, f", (of: Value, name: Value) => asObject(of).has(asString(name))),
  objectHasEx: strict("obj, fname, hidden", (of: Value, name: Value, hidden: Value) =>
    asObject(of).has(asString(name), asBoolean(hidden)),
  ),
  objectFields: strict("o", (of: Value) => arrayOf(asObject(of).fieldNames())),
  objectFieldsAll: strict("o", (of: Value) => arrayOf(asObject(of).fieldNames(true))),
  objectFieldsEx: strict("obj, hidden", (of: Value, hidden: Value) =>
    arrayOf(asObject(of).fieldNames(asBoolean(hidden))),
  ),
  objectValues: strict("o", (of: Value) => values(of, false)),
  objectValuesAll: strict("o", (of: Value) => values(of, true)),
  objectKeysValues: strict("o", (of: Value) => keysValues(of, false)),
  objectKeysValuesAll: strict("o", (of: Value) => keysValues(of, true)),
  objectRemoveKey: strict("obj, key", (of: Value, name: Value) => asObject(of).without(asString(name))),
  mapWithKey: strict("func, obj", (mapper: Value, of: Value) =>
    JsonnetObject.of(
      asObject(of)
        .fieldNames()
        .map((name) => [
          name,
          () =>
            expectType(mapper, "function", "an argument").with(
              Thunk.of(name),
              new Thunk(() => asObject(of).get(name)),
            ),
        ]),
    ),
  ),
  prune: strict("a", prune),
  mergePatch: strict("target, patch", mergePatch),
};
