import { JmespathError } from "./error.ts";
import {
  compareStrings,
  isArray,
  isObject,
  type ObjectValue,
  Reference,
  toJson,
  type Value,
} from "./values.ts";

type Type = "any" | "number" | "string" | "array" | "object" | "numbers" | "strings" | "reference";
type Ordered = number | string;

interface JmespathFunction {
  /** What each argument may be. */
  readonly parameters: readonly (readonly Type[])[];
  /** Of a variadic one, any number of arguments follows, which are not looked at before the call. */
  readonly variadic?: true;
  /** Is given arguments of these types only. */
  // biome-ignore lint/suspicious/noExplicitAny: each function knows its parameters' types.
  call(values: any[]): Value;
}

/** Throws {@link JmespathError} for a function that does not exist, or does not take these arguments. */
export function callFunction(name: string, values: readonly Value[]): Value {
  const called = FUNCTIONS.get(name);
  if (called === undefined) {
    throw new JmespathError(`there is no function ${name}`);
  }
  const { parameters, variadic } = called;
  if (variadic ? values.length < parameters.length : values.length !== parameters.length) {
    throw new JmespathError(`${name} takes ${parameters.length} arguments, and is given ${values.length}`);
  }
  if (!variadic) {
    parameters.forEach((types, index) => {
      if (!types.some((type) => IS_TYPE[type](values[index]!))) {
        throw new JmespathError(`${name}: argument ${index + 1} is not of type ${types.join(" or ")}`);
      }
    });
  }
  return called.call([...values]);
}

function isNumber(value: Value): value is number {
  return typeof value === "number";
}

function isString(value: Value): value is string {
  return typeof value === "string";
}

const IS_TYPE: Readonly<Record<Type, (value: Value) => boolean>> = {
  any: () => true,
  number: isNumber,
  string: isString,
  array: isArray,
  object: isObject,
  numbers: (value) => isArray(value) && value.every(isNumber),
  strings: (value) => isArray(value) && value.every(isString),
  reference: (value) => value instanceof Reference,
};

const FUNCTIONS: ReadonlyMap<string, JmespathFunction> = new Map(
  Object.entries<JmespathFunction>({
    abs: { parameters: [["number"]], call: ([value]) => Math.abs(value) },
    avg: { parameters: [["numbers"]], call: ([values]) => sum(values) / values.length },
    ceil: { parameters: [["number"]], call: ([value]) => Math.ceil(value) },
    contains: { parameters: [["array", "string"], ["any"]], call: ([whole, part]) => contains(whole, part) },
    ends_with: { parameters: [["string"], ["string"]], call: ([text, end]) => text.endsWith(end) },
    floor: { parameters: [["number"]], call: ([value]) => Math.floor(value) },
    join: { parameters: [["string"], ["strings"]], call: ([separator, parts]) => parts.join(separator) },
    keys: { parameters: [["object"]], call: ([object]) => Object.keys(object) },
    length: { parameters: [["string", "array", "object"]], call: ([value]) => lengthOf(value) },
    map: {
      parameters: [["reference"], ["array"]],
      call: ([reference, items]) => items.map((item: Value) => reference.of(item)),
    },
    max: { parameters: [["numbers", "strings"]], call: ([values]) => extreme(values, values, 1) },
    max_by: {
      parameters: [["array"], ["reference"]],
      call: ([items, by]) => extremeBy(items, by, 1),
    },
    merge: { parameters: [["object"]], variadic: true, call: merge },
    min: { parameters: [["numbers", "strings"]], call: ([values]) => extreme(values, values, -1) },
    min_by: {
      parameters: [["array"], ["reference"]],
      call: ([items, by]) => extremeBy(items, by, -1),
    },
    not_null: {
      parameters: [["any"]],
      variadic: true,
      call: (values) => values.find((value) => value !== null) ?? null,
    },
    reverse: { parameters: [["array", "string"]], call: ([value]) => reverse(value) },
    sort: { parameters: [["strings", "numbers"]], call: ([values]) => values.toSorted(compare) },
    sort_by: {
      parameters: [["array"], ["reference"]],
      call: ([items, by]) => sortBy(items, by),
    },
    starts_with: { parameters: [["string"], ["string"]], call: ([text, start]) => text.startsWith(start) },
    sum: { parameters: [["numbers"]], call: ([values]) => sum(values) },
    to_array: { parameters: [["any"]], call: ([value]) => (isArray(value) ? value : [value]) },
    to_number: { parameters: [["any"]], call: ([value]) => toNumber(value) },
    to_string: { parameters: [["any"]], call: ([value]) => (isString(value) ? value : toJson(value)) },
    type: { parameters: [["any"]], call: ([value]) => typeOf(value) },
    values: { parameters: [["object"]], call: ([object]) => Object.values(object) },
  }),
);

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function contains(whole: readonly Value[] | string, part: Value): boolean {
  if (typeof whole === "string") {
    return typeof part === "string" && whole.includes(part);
  }
  if (typeof part === "object" && part !== null) {
    return containsComposite(whole, part);
  }
  return whole.includes(part) && !Number.isNaN(part);
}

/** Arrays and objects have no equality in Go, so it panics once it sees one of the same type. */
function containsComposite(whole: readonly Value[], part: Value): boolean {
  if (whole.some((item) => (isArray(part) ? isArray(item) : isObject(part) && isObject(item)))) {
    throw new JmespathError("contains: arrays and objects cannot be looked for among others");
  }
  return false;
}

function lengthOf(value: string | readonly Value[] | ObjectValue): number {
  return typeof value === "string" ? [...value].length : Object.keys(value).length;
}

function reverse(value: string | readonly Value[]): Value {
  return typeof value === "string" ? [...value].reverse().join("") : value.toReversed();
}

function merge(values: readonly Value[]): Value {
  if (!values.every(isObject)) {
    throw new JmespathError("merge: an argument is not of type object");
  }
  return Object.fromEntries(values.flatMap((object) => Object.entries(object)));
}

function compare(left: Ordered, right: Ordered): number {
  return typeof left === "number" ? left - Number(right) : compareStrings(left, `${right}`);
}

/** The first item whose key is the largest, for a sign of 1, or the smallest, for -1. */
function extreme(items: readonly Value[], keys: readonly Ordered[], sign: 1 | -1): Value {
  const best = keys.reduce<number>(
    (found, key, index) => (sign * compare(key, keys[found]!) > 0 ? index : found),
    0,
  );
  return items[best] ?? null;
}

function extremeBy(items: readonly Value[], by: Reference, sign: 1 | -1): Value {
  return items.length < 2 ? (items[0] ?? null) : extreme(items, keysOf(items, by), sign);
}

function sortBy(items: readonly Value[], by: Reference): Value {
  if (items.length < 2) {
    return items;
  }
  const keys = keysOf(items, by);
  return items
    .map((item, index) => ({ item, key: keys[index]! }))
    .sort((left, right) => compare(left.key, right.key))
    .map(({ item }) => item);
}

/** What orders the items: all numbers, or all strings. */
function keysOf(items: readonly Value[], by: Reference): readonly Ordered[] {
  const keys = items.map((item) => by.of(item));
  const type = typeof keys[0];
  if ((type !== "number" && type !== "string") || keys.some((key) => typeof key !== type)) {
    throw new JmespathError("what items are ordered by must be all numbers, or all strings");
  }
  return keys as readonly Ordered[];
}

/** What Go's ParseFloat takes, but for hexadecimal numbers. */
function toNumber(value: Value): Value {
  if (typeof value === "bigint" || value instanceof Reference) {
    throw new JmespathError("to_number: the value has no type that JMESPath knows");
  }
  if (typeof value !== "string") {
    return typeof value === "number" ? value : null;
  }
  const special = /^([+-]?)(?:inf|infinity)$/i.exec(value);
  if (special !== null) {
    return special[1] === "-" ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  }
  if (/^nan$/i.test(value)) {
    return Number.NaN;
  }
  const isNumeral = /^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?$/i.test(value);
  return isNumeral && Number.isFinite(Number(value)) ? Number(value) : null;
}

function typeOf(value: Value): string {
  if (typeof value === "bigint" || value instanceof Reference) {
    throw new JmespathError("type: the value has no type that JMESPath knows");
  }
  return value === null ? "null" : isArray(value) ? "array" : typeof value;
}
