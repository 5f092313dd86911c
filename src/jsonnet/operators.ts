import { JsonnetError } from "./error.ts";
import { format } from "./library/format.ts";
import { textOf } from "./manifest.ts";
import type { BinaryOperator, UnaryOperator } from "./syntax.ts";
import {
  charactersOf,
  checked,
  compareStrings,
  expectType,
  type JsonnetArray,
  JsonnetObject,
  type Thunk,
  typeOf,
  type Value,
} from "./values.ts";

export function unary(operator: UnaryOperator, operand: Value): Value {
  switch (operator) {
    case "!":
      return !expectType(operand, "boolean");
    case "~":
      return Number(~integer(operand));
    case "-":
      return -expectType(operand, "number");
    case "+":
      return expectType(operand, "number");
  }
}

/** An operator that needs both of its operands. */
export function binary(operator: Exclude<BinaryOperator, "&&" | "||">, left: Value, right: Value): Value {
  switch (operator) {
    case "+":
      return add(left, right);
    case "-":
      return checked(expectType(left, "number") - expectType(right, "number"));
    case "*":
      return checked(expectType(left, "number") * expectType(right, "number"));
    case "/":
      return checked(expectType(left, "number") / divisor(right));
    case "%":
      return typeof left === "string"
        ? format(left, right)
        : checked(expectType(left, "number") % divisor(right));
    case "==":
      return equals(left, right);
    case "!=":
      return !equals(left, right);
    case "<":
      return compare(left, right) < 0;
    case "<=":
      return compare(left, right) <= 0;
    case ">":
      return compare(left, right) > 0;
    case ">=":
      return compare(left, right) >= 0;
    case "in":
      return expectType(right, "object").has(expectType(left, "string", "a field's name"));
    case "&":
      return Number(integer(left) & integer(right));
    case "|":
      return Number(integer(left) | integer(right));
    case "^":
      return Number(integer(left) ^ integer(right));
    case "<<":
      return Number(BigInt.asIntN(64, integer(left) << distance(right)));
    case ">>":
      return Number(integer(left) >> distance(right));
  }
}

export function add(left: Value, right: Value): Value {
  if (typeof left === "string" || typeof right === "string") {
    return textOf(left) + textOf(right);
  }
  if (left instanceof JsonnetObject && right instanceof JsonnetObject) {
    return left.extend(right);
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    return [...left, ...right];
  }
  const type = typeOf(left);
  return checked(
    expectType(
      left,
      "number",
      type === typeOf(right) ? "something to add" : `something to add to ${typeOf(right)}`,
    ) + expectType(right, "number", `something to add to ${type}`),
  );
}

function divisor(value: Value): number {
  const number = expectType(value, "number");
  if (number === 0) {
    throw new JsonnetError("division by zero");
  }
  return number;
}

function integer(value: Value): bigint {
  const number = Math.trunc(expectType(value, "number"));
  if (Math.abs(number) >= 2 ** 63) {
    throw new JsonnetError(`${number} is too large for an operation on bits`);
  }
  return BigInt(number);
}

function distance(value: Value): bigint {
  const bits = integer(value);
  if (bits < 0n) {
    throw new JsonnetError("a shift by a negative number of bits");
  }
  return bits % 64n;
}

export function equals(left: Value, right: Value): boolean {
  const type = typeOf(left);
  if (type !== typeOf(right)) {
    return false;
  }
  if (type === "function") {
    throw new JsonnetError("functions cannot be compared");
  }
  if (left instanceof JsonnetObject && right instanceof JsonnetObject) {
    left.checkAsserts();
    right.checkAsserts();
    const names = left.fieldNames();
    const others = right.fieldNames();
    return (
      names.length === others.length &&
      names.every((name, index) => name === others[index]) &&
      names.every((name) => equals(left.get(name), right.get(name)))
    );
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    return (
      left.length === right.length &&
      left.every((element: Thunk, index) => equals(element.force(), (right[index] as Thunk).force()))
    );
  }
  return left === right;
}

/** Negative, 0 or positive. Numbers, strings, arrays, and booleans among themselves have an order. */
export function compare(left: Value, right: Value): number {
  if (typeof left === "number" && typeof right === "number") {
    return left < right ? -1 : Number(left > right);
  }
  if (typeof left === "string" && typeof right === "string") {
    return compareStrings(left, right);
  }
  if (Array.isArray(left) && Array.isArray(right)) {
    for (const [index, element] of (left as JsonnetArray).entries()) {
      const other = (right as JsonnetArray)[index];
      const order = other === undefined ? 1 : compare(element.force(), other.force());
      if (order !== 0) {
        return order;
      }
    }
    return left.length - right.length;
  }
  throw new JsonnetError(`${typeOf(left)} and ${typeOf(right)} have no order`);
}

/** `target[index]`. */
export function at(target: Value, index: Value): Value {
  if (target instanceof JsonnetObject) {
    return target.get(expectType(index, "string", "a field's name"));
  }
  if (typeof target !== "string" && !Array.isArray(target)) {
    throw new JsonnetError(`${typeOf(target)} has no fields or elements`);
  }
  const elements: readonly (string | Thunk)[] = typeof target === "string" ? charactersOf(target) : target;
  const place = Math.trunc(expectType(index, "number", "an index"));
  const element = elements[place];
  if (element === undefined) {
    throw new JsonnetError(`index ${place} is not within [0, ${elements.length})`);
  }
  return typeof element === "string" ? element : element.force();
}

/** `target[start:end:step]` of an array or a string; negative bounds count from the end. */
export function slice(target: Value, start: Value, end: Value, step: Value): Value {
  if (typeof target !== "string" && !Array.isArray(target)) {
    throw new JsonnetError(`${typeOf(target)} has no slices`);
  }
  const elements: readonly (string | Thunk)[] = typeof target === "string" ? charactersOf(target) : target;
  const bound = (value: Value, missing: number) => {
    const number = value === null ? missing : expectType(value, "number", "a bound of a slice");
    return number < 0 ? Math.max(0, elements.length + number) : number;
  };
  const last = Math.min(bound(end, elements.length), elements.length);
  const stride = step === null ? 1 : expectType(step, "number", "the step of a slice");
  if (!(stride >= 1)) {
    throw new JsonnetError(`the step of a slice must be positive, not ${stride}`);
  }
  const taken: (string | Thunk)[] = [];
  for (let index = bound(start, 0); index < last; index += stride) {
    taken.push(elements[Math.trunc(index)]!);
  }
  return typeof target === "string" ? taken.join("") : (taken as Thunk[]);
}
