import { JsonnetError } from "../error.ts";
import {
  charactersOf,
  expectType,
  type JsonnetArray,
  JsonnetFunction,
  type JsonnetObject,
  Thunk,
  typeOf,
  type Value,
} from "../values.ts";

/** A function of the library. `parameters` are names with commas between; one that ends in ? may be left out. */
export function lazy(
  parameters: string,
  // biome-ignore lint/suspicious/noExplicitAny: each body knows how many there are, and which may be left out.
  body: (...given: any[]) => Value,
): JsonnetFunction {
  const shapes = parameters.split(", ").map((parameter) => ({
    name: parameter.replace("?", ""),
    required: !parameter.endsWith("?"),
  }));
  return new JsonnetFunction(shapes, (given) => body(...given));
}

/** As {@link lazy}, with all arguments evaluated; one that is left out is undefined. */
export function strict(
  parameters: string,
  // biome-ignore lint/suspicious/noExplicitAny: each body knows how many there are, and which may be left out.
  body: (...values: any[]) => Value,
): JsonnetFunction {
  return lazy(parameters, (...given: (Thunk | undefined)[]) => body(...given.map((thunk) => thunk?.force())));
}

export type Library = Readonly<Record<string, Value>>;

/** The elements of an array, or the characters of a string. */
export function elementsOf(value: Value): JsonnetArray {
  if (typeof value === "string") {
    return charactersOf(value).map((character) => Thunk.of(character));
  }
  if (Array.isArray(value)) {
    return value;
  }
  throw new JsonnetError(`expected an array or a string, not ${typeOf(value)}`);
}

/** The array of these values. */
export function arrayOf(values: readonly Value[]): JsonnetArray {
  return values.map((value) => Thunk.of(value));
}

/** The result of calling the function when it is needed. */
export function call(target: JsonnetFunction, ...given: readonly Thunk[]): Thunk {
  return new Thunk(() => target.with(...given));
}

export function asString(value: Value): string {
  return expectType(value, "string", "an argument");
}

export function asNumber(value: Value): number {
  return expectType(value, "number", "an argument");
}

export function asBoolean(value: Value): boolean {
  return expectType(value, "boolean", "an argument");
}

export function asArray(value: Value): JsonnetArray {
  return expectType(value, "array", "an argument");
}

export function asObject(value: Value): JsonnetObject {
  return expectType(value, "object", "an argument");
}

export function asFunction(value: Value): JsonnetFunction {
  return expectType(value, "function", "an argument");
}
