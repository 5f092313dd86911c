import { evaluate } from "./interpreter.ts";
import { parseJmespath } from "./parser.ts";
import type { Value } from "./values.ts";

/** A parsed expression: what it makes of a value. Throws {@link JmespathError} where it cannot be evaluated. */
export type Search = (input: Value) => Value;

/** Throws {@link JmespathError} for what is no expression. */
export function compileJmespath(expression: string): Search {
  const parsed = parseJmespath(expression);
  return (input) => evaluate(parsed, input);
}
