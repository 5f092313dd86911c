import { JmespathError } from "./error.ts";

/**
 * JSON, and two kinds of values that only exist while an expression is evaluated or are given to it: a bigint is what is
 * an integer to Go. As there, it equals no number, is neither more nor less than one, and becomes digits as text.
 */
export type Value = null | boolean | number | bigint | string | readonly Value[] | ObjectValue | Reference;

export interface ObjectValue {
  readonly [key: string]: Value;
}

/** `&expression`, which a function evaluates itself. As JSON, it is an empty object. */
export class Reference {
  readonly #evaluate: (value: Value) => Value;

  constructor(evaluate: (value: Value) => Value) {
    this.#evaluate = evaluate;
  }

  of(value: Value): Value {
    return this.#evaluate(value);
  }
}

export function isArray(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

export function isObject(value: Value): value is ObjectValue {
  return typeof value === "object" && value !== null && !isArray(value) && !(value instanceof Reference);
}

/** Members named as a method of objects are members like others. */
export function member(value: Value, name: string): Value {
  return isObject(value) && Object.hasOwn(value, name) ? value[name]! : null;
}

/** False are null, false and whatever is empty; 0 is not. */
export function isFalse(value: Value): boolean {
  return (
    value === null ||
    value === false ||
    value === "" ||
    (isArray(value) && value.length === 0) ||
    (isObject(value) && Object.keys(value).length === 0)
  );
}

export function areEqual(left: Value, right: Value): boolean {
  if (isArray(left) && isArray(right)) {
    return left.length === right.length && left.every((item, index) => areEqual(item, right[index]!));
  }
  if (isObject(left) && isObject(right)) {
    const keys = Object.keys(left);
    return (
      keys.length === Object.keys(right).length &&
      keys.every((key) => Object.hasOwn(right, key) && areEqual(left[key]!, right[key]!))
    );
  }
  return left === right;
}

/** By code points: UTF-16, which JavaScript compares, has those above U+FFFF before U+E000. */
export function compareStrings(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}

/** JSON text as Go writes it: keys in order, and nothing in it that HTML would take for more than text. */
export function toJson(value: Value): string {
  if (isArray(value)) {
    return `[${value.map(toJson).join(",")}]`;
  }
  if (isObject(value)) {
    const keys = Object.keys(value).sort(compareStrings);
    return `{${keys.map((key) => `${toJson(key)}:${toJson(value[key]!)}`).join(",")}}`;
  }
  switch (typeof value) {
    case "number":
      if (!Number.isFinite(value)) {
        throw new JmespathError(`${value} is no number of JSON's`);
      }
      return Object.is(value, -0) ? "-0" : `${value}`;
    case "bigint":
      return `${value}`;
    case "string":
      return JSON.stringify(value).replace(
        /[<>&\u2028\u2029]/g,
        (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
    default:
      return value instanceof Reference ? "{}" : `${value}`;
  }
}

/** JSON text into a value. Throws a SyntaxError. */
export function fromJson(text: string): Value {
  return JSON.parse(text, (_key, value: Value) => {
    if (value === Number.POSITIVE_INFINITY || value === Number.NEGATIVE_INFINITY) {
      throw new SyntaxError("a number is too large");
    }
    return typeof value === "string" ? value.toWellFormed() : value;
  }) as Value;
}
