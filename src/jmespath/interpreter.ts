import { JmespathError } from "./error.ts";
import { callFunction } from "./functions.ts";
import type { Comparator, Expression, SliceParts } from "./syntax.ts";
import { areEqual, isArray, isFalse, isObject, member, Reference, type Value } from "./values.ts";

/** What the expression makes of the value. Throws {@link JmespathError}. */
export function evaluate(expression: Expression, value: Value): Value {
  switch (expression.kind) {
    case "current":
      return value;
    case "literal":
      return expression.value;
    case "field":
      return member(value, expression.name);
    case "index":
      return isArray(value) ? (value.at(expression.index) ?? null) : null;
    case "slice":
      return isArray(value) ? slice(value, expression.parts) : null;
    case "chain":
      return evaluate(expression.second, evaluate(expression.first, value));
    case "flatten": {
      const nested = orNull(expression.of, value);
      return isArray(nested) ? nested.flatMap((item) => (isArray(item) ? item : [item])) : null;
    }
    case "projection": {
      const items = evaluate(expression.of, value);
      return isArray(items) ? project(items, expression.each) : null;
    }
    case "filter": {
      const items = orNull(expression.of, value);
      return isArray(items) ? filter(items, expression.condition, expression.each) : null;
    }
    case "valueProjection": {
      const object = orNull(expression.of, value);
      if (!isObject(object)) {
        return null;
      }
      const values = Object.values(object);
      // go-jmespath begins with as many nulls.
      return project([...values.map(() => null), ...values], expression.each);
    }
    case "list":
      return value === null ? null : expression.items.map((item) => evaluate(item, value));
    case "hash":
      return value === null
        ? null
        : Object.fromEntries(expression.members.map(([name, of]) => [name, evaluate(of, value)]));
    case "comparison":
      return compare(
        evaluate(expression.left, value),
        expression.comparator,
        evaluate(expression.right, value),
      );
    case "or": {
      const left = evaluate(expression.left, value);
      return isFalse(left) ? evaluate(expression.right, value) : left;
    }
    case "and": {
      const left = evaluate(expression.left, value);
      return isFalse(left) ? left : evaluate(expression.right, value);
    }
    case "not":
      return isFalse(evaluate(expression.operand, value));
    case "reference":
      return new Reference((each) => evaluate(expression.expression, each));
    case "call":
      return callFunction(
        expression.name,
        expression.arguments.map((argument) => evaluate(argument, value)),
      );
  }
}

/** What fails is null. */
function orNull(expression: Expression, value: Value): Value {
  try {
    return evaluate(expression, value);
  } catch (error) {
    if (error instanceof JmespathError) {
      return null;
    }
    throw error;
  }
}

function project(items: readonly Value[], each: Expression): readonly Value[] {
  return items.map((item) => evaluate(each, item)).filter((made) => made !== null);
}

/** One item after the other: a condition that fails for one comes after what is made of those before it. */
function filter(items: readonly Value[], condition: Expression, each: Expression): readonly Value[] {
  const made: Value[] = [];
  for (const item of items) {
    if (!isFalse(evaluate(condition, item))) {
      made.push(evaluate(each, item));
    }
  }
  return made.filter((value) => value !== null);
}

function compare(left: Value, comparator: Comparator, right: Value): Value {
  if (comparator === "==" || comparator === "!=") {
    return areEqual(left, right) === (comparator === "==");
  }
  if (typeof left !== "number" || typeof right !== "number") {
    return null;
  }
  switch (comparator) {
    case "<":
      return left < right;
    case "<=":
      return left <= right;
    case ">":
      return left > right;
    case ">=":
      return left >= right;
  }
}

function slice(items: readonly Value[], [from, to, by]: SliceParts): readonly Value[] {
  const step = by ?? 1;
  if (step === 0) {
    throw new JmespathError("the step of a slice is 0");
  }
  const { length } = items;
  const [first, last] = step > 0 ? [0, length] : [-1, length - 1];
  const within = (place: number) => Math.min(Math.max(place < 0 ? place + length : place, first), last);
  const start = from === null ? (step > 0 ? first : last) : within(from);
  const stop = to === null ? (step > 0 ? last : first) : within(to);
  const taken: Value[] = [];
  for (let place = start; step > 0 ? place < stop : place > stop; place += step) {
    taken.push(items[place]!);
  }
  return taken;
}
