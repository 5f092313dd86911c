import type { Value } from "./values.ts";

export type Comparator = "==" | "!=" | "<" | "<=" | ">" | ">=";

/** Start, stop and step; null is what was left out. */
export type SliceParts = readonly [number | null, number | null, number | null];

/** A parsed expression. What is evaluated for each of several values is their `each`. */
export type Expression =
  | { readonly kind: "current" }
  | { readonly kind: "literal"; readonly value: Value }
  | { readonly kind: "field"; readonly name: string }
  | { readonly kind: "index"; readonly index: number }
  | { readonly kind: "slice"; readonly parts: SliceParts }
  /** The second of what the first gives: `a.b`, `a[0]` and `a | b`. */
  | { readonly kind: "chain"; readonly first: Expression; readonly second: Expression }
  | { readonly kind: "flatten"; readonly of: Expression }
  /** `a[*]`, `a[]` and `a[1:2]`. */
  | { readonly kind: "projection"; readonly of: Expression; readonly each: Expression }
  | {
      readonly kind: "filter";
      readonly of: Expression;
      readonly condition: Expression;
      readonly each: Expression;
    }
  /** `a.*`. */
  | { readonly kind: "valueProjection"; readonly of: Expression; readonly each: Expression }
  | { readonly kind: "list"; readonly items: readonly Expression[] }
  | { readonly kind: "hash"; readonly members: readonly (readonly [string, Expression])[] }
  | {
      readonly kind: "comparison";
      readonly comparator: Comparator;
      readonly left: Expression;
      readonly right: Expression;
    }
  | { readonly kind: "or"; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "and"; readonly left: Expression; readonly right: Expression }
  | { readonly kind: "not"; readonly operand: Expression }
  | { readonly kind: "reference"; readonly expression: Expression }
  | { readonly kind: "call"; readonly name: string; readonly arguments: readonly Expression[] };
