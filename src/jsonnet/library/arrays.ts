import { JsonnetError } from "../error.ts";
import { add, compare, equals, slice } from "../operators.ts";
import { expectType, type JsonnetArray, JsonnetFunction, Thunk, typeOf, type Value } from "../values.ts";
import {
  arrayOf,
  asArray,
  asFunction,
  asNumber,
  call,
  elementsOf,
  type Library,
  lazy,
  strict,
} from "./builtin.ts";

function holds(test: Value, element: Thunk): boolean {
  return expectType(asFunction(test).with(element), "boolean", "a test's result");
}

function joined(parts: readonly Value[]): JsonnetArray {
  return parts.flatMap((part) => asArray(part));
}

const MAXIMUM_LENGTH = 2 ** 32 - 1;

function count(value: Value): number {
  const length = Math.max(0, asNumber(value));
  if (!Number.isInteger(length) || length > MAXIMUM_LENGTH) {
    throw new JsonnetError(`an array cannot have ${length} elements`);
  }
  return length;
}

function filled(length: number, element: (index: number) => Thunk): JsonnetArray {
  const elements: Thunk[] = [];
  for (let index = 0; index < length; index++) {
    elements.push(element(index));
  }
  return elements;
}

/** The elements with what they are compared by. */
function keyed(elements: JsonnetArray, key: Value | undefined): { element: Thunk; key: Value }[] {
  return elements.map((element) => ({
    element,
    key: key === undefined ? element.force() : asFunction(key).with(element),
  }));
}

function sorted(elements: JsonnetArray, key: Value | undefined): JsonnetArray {
  return keyed(elements, key)
    .sort((left, right) => compare(left.key, right.key))
    .map(({ element }) => element);
}

function unique(elements: JsonnetArray, key: Value | undefined): JsonnetArray {
  return keyed(elements, key)
    .filter((entry, index, all) => index === 0 || !equals(entry.key, all[index - 1]!.key))
    .map(({ element }) => element);
}

/** Goes through two sets together, and takes what is only in the first, in both, or only in the second. */
function merge(
  left: Value,
  right: Value,
  key: Value | undefined,
  takes: { readonly first: boolean; readonly both: boolean; readonly second: boolean },
): JsonnetArray {
  const [lefts, rights] = [keyed(asArray(left), key), keyed(asArray(right), key)];
  const result: Thunk[] = [];
  let [i, j] = [0, 0];
  while (i < lefts.length || j < rights.length) {
    const order = i === lefts.length ? 1 : j === rights.length ? -1 : compare(lefts[i]!.key, rights[j]!.key);
    if (order === 0 ? takes.both : order < 0 ? takes.first : takes.second) {
      result.push((order <= 0 ? lefts[i]! : rights[j]!).element);
    }
    i += order <= 0 ? 1 : 0;
    j += order >= 0 ? 1 : 0;
  }
  return result;
}

function extreme(sign: number) {
  return lazy("arr, keyF?, onEmpty?", (arr: Thunk, keyFunction?: Thunk, onEmpty?: Thunk) => {
    const [first, ...others] = keyed(asArray(arr.force()), keyFunction?.force());
    if (first === undefined) {
      if (onEmpty === undefined) {
        throw new JsonnetError("the array is empty, and nothing is given for that case");
      }
      return onEmpty.force();
    }
    return others
      .reduce((best, entry) => (sign * compare(entry.key, best.key) > 0 ? entry : best), first)
      .element.force();
  });
}

function total(elements: JsonnetArray): number {
  return elements.reduce((sum, element) => sum + asNumber(element.force()), 0);
}

function flattenDeep(value: Value): JsonnetArray {
  return Array.isArray(value) ? value.flatMap((element) => flattenDeep(element.force())) : [Thunk.of(value)];
}

function flatMap(mapper: Value, elements: Value): Value {
  const parts = elementsOf(elements).map((element) => asFunction(mapper).with(element));
  return typeof elements === "string"
    ? parts.map((part) => expectType(part, "string", "what the function gives")).join("")
    : joined(parts);
}

function contains(where: Value, what: Value): boolean {
  return typeof where === "string"
    ? where.includes(expectType(what, "string", "an argument"))
    : asArray(where).some((element) => equals(element.force(), what));
}

export const ARRAYS: Library = {
  makeArray: strict("sz, func", (size: Value, maker: Value) =>
    filled(count(size), (index) => call(asFunction(maker), Thunk.of(index))),
  ),
  range: strict("from, to", (from: Value, to: Value) =>
    filled(count(asNumber(to) - asNumber(from) + 1), (index) => Thunk.of(asNumber(from) + index)),
  ),
  repeat: strict("what, count", (what: Value, times: Value) =>
    typeof what === "string"
      ? what.repeat(count(times))
      : joined(Array.from({ length: count(times) }, () => asArray(what))),
  ),
  slice: strict("indexable, index, end, step", slice),
  map: strict("func, arr", (mapper: Value, elements: Value) =>
    elementsOf(elements).map((element) => call(asFunction(mapper), element)),
  ),
  mapWithIndex: strict("func, arr", (mapper: Value, elements: Value) =>
    elementsOf(elements).map((element, index) => call(asFunction(mapper), Thunk.of(index), element)),
  ),
  filter: strict("func, arr", (test: Value, elements: Value) =>
    asArray(elements).filter((element) => holds(test, element)),
  ),
  filterMap: strict("filter_func, map_func, arr", (test: Value, mapper: Value, elements: Value) =>
    asArray(elements)
      .filter((element) => holds(test, element))
      .map((element) => call(asFunction(mapper), element)),
  ),
  flatMap: strict("func, arr", flatMap),
  flattenArrays: strict("arrs", (arrays: Value) => joined(asArray(arrays).map((part) => part.force()))),
  flattenDeepArray: strict("value", flattenDeep),
  foldl: strict("func, arr, init", (folder: Value, elements: Value, start: Value) =>
    elementsOf(elements).reduce((value, element) => asFunction(folder).with(Thunk.of(value), element), start),
  ),
  foldr: strict("func, arr, init", (folder: Value, elements: Value, start: Value) =>
    elementsOf(elements).reduceRight(
      (value, element) => asFunction(folder).with(element, Thunk.of(value)),
      start,
    ),
  ),
  reverse: strict("arr", (elements: Value) => [...asArray(elements)].reverse()),
  find: strict("value, arr", (what: Value, elements: Value) =>
    arrayOf(asArray(elements).flatMap((element, index) => (equals(element.force(), what) ? [index] : []))),
  ),
  count: strict(
    "arr, x",
    (elements: Value, what: Value) =>
      asArray(elements).filter((element) => equals(element.force(), what)).length,
  ),
  member: strict("arr, x", contains),
  contains: strict("arr, elem", (elements: Value, what: Value) => contains(asArray(elements), what)),
  remove: strict("arr, elem", (elements: Value, what: Value) => {
    const index = asArray(elements).findIndex((element) => equals(element.force(), what));
    return asArray(elements).filter((_, place) => place !== index);
  }),
  removeAt: strict("arr, idx", (elements: Value, index: Value) =>
    asArray(elements).filter((_, place) => place !== asNumber(index)),
  ),
  sort: strict("arr, keyF?", (elements: Value, key?: Value) => sorted(asArray(elements), key)),
  uniq: strict("arr, keyF?", (elements: Value, key?: Value) => unique(asArray(elements), key)),
  set: strict("arr, keyF?", (elements: Value, key?: Value) => unique(sorted(asArray(elements), key), key)),
  setUnion: strict("a, b, keyF?", (left: Value, right: Value, key?: Value) =>
    merge(left, right, key, { first: true, both: true, second: true }),
  ),
  setInter: strict("a, b, keyF?", (left: Value, right: Value, key?: Value) =>
    merge(left, right, key, { first: false, both: true, second: false }),
  ),
  setDiff: strict("a, b, keyF?", (left: Value, right: Value, key?: Value) =>
    merge(left, right, key, { first: true, both: false, second: false }),
  ),
  setMember: strict("x, arr, keyF?", (what: Value, elements: Value, key?: Value) => {
    const own = key === undefined ? what : asFunction(key).with(Thunk.of(what));
    return keyed(asArray(elements), key).some((entry) => equals(entry.key, own));
  }),
  minArray: extreme(-1),
  maxArray: extreme(1),
  sum: strict("arr", (elements: Value) => total(asArray(elements))),
  avg: strict("arr", (elements: Value) => {
    if (asArray(elements).length === 0) {
      throw new JsonnetError("an empty array has no average");
    }
    return total(asArray(elements)) / asArray(elements).length;
  }),
  all: strict("arr", (elements: Value) =>
    asArray(elements).every((element) => expectType(element.force(), "boolean", "an element")),
  ),
  any: strict("arr", (elements: Value) =>
    asArray(elements).some((element) => expectType(element.force(), "boolean", "an element")),
  ),
  join: strict("sep, arr", (separator: Value, elements: Value) => {
    const parts = asArray(elements)
      .map((element) => element.force())
      .filter((part) => part !== null);
    const empty: Value = typeof separator === "string" ? "" : [];
    const wanted = typeOf(separator) === "string" ? "string" : "array";
    expectType(separator, wanted, "the separator");
    for (const part of parts) {
      expectType(part, wanted, "a part");
    }
    return parts.reduce<Value>(
      (whole, part, index) => (index === 0 ? part : add(add(whole, separator), part)),
      empty,
    );
  }),
  length: strict("x", (value: Value) => {
    if (value instanceof JsonnetFunction) {
      return value.parameters.length;
    }
    if (typeOf(value) === "object") {
      return expectType(value, "object").fieldNames().length;
    }
    return elementsOf(value).length;
  }),
};
