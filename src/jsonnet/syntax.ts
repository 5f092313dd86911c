import type { Position } from "./error.ts";

export type UnaryOperator = "!" | "+" | "-" | "~";
export type BinaryOperator =
  | "*"
  | "/"
  | "%"
  | "+"
  | "-"
  | "<<"
  | ">>"
  | "<"
  | ">"
  | "<="
  | ">="
  | "in"
  | "=="
  | "!="
  | "&"
  | "^"
  | "|"
  | "&&"
  | "||";

export interface Binding {
  readonly name: string;
  readonly value: Node;
  readonly at: Position;
}

export interface Parameter {
  readonly name: string;
  readonly fallback: Node | undefined;
  readonly at: Position;
}

/** `:` leaves a field as visible as it was, `::` hides it, `:::` shows it. */
export type Visibility = ":" | "::" | ":::";

export interface FieldNode {
  readonly name: Node;
  /** Whether the name stands in brackets. */
  readonly computed: boolean;
  readonly visibility: Visibility;
  /** Whether the value is added to what the field was (`+:`). */
  readonly adds: boolean;
  readonly value: Node;
  readonly at: Position;
}

export interface AssertNode {
  readonly condition: Node;
  readonly message: Node | undefined;
  readonly at: Position;
}

/** `for` gives a variable each of the array's values, `if` leaves out what does not fulfil the condition. */
export type Specification =
  | { readonly kind: "for"; readonly variable: string; readonly array: Node }
  | { readonly kind: "if"; readonly condition: Node };

interface Kinds {
  literal: { readonly value: null | boolean | number | string };
  variable: { readonly name: string };
  self: unknown;
  /** `$`: the outermost object around it. */
  root: unknown;
  array: { readonly elements: readonly Node[] };
  arrayComprehension: { readonly element: Node; readonly specifications: readonly Specification[] };
  object: {
    readonly fields: readonly FieldNode[];
    readonly locals: readonly Binding[];
    readonly asserts: readonly AssertNode[];
    /** Of an object comprehension, which has one field. */
    readonly specifications: readonly Specification[] | undefined;
  };
  index: { readonly target: Node; readonly index: Node };
  slice: { readonly target: Node; readonly bounds: readonly (Node | undefined)[] };
  superIndex: { readonly index: Node };
  inSuper: { readonly name: Node };
  call: {
    readonly target: Node;
    readonly positional: readonly Node[];
    readonly named: readonly Binding[];
    readonly tailstrict: boolean;
  };
  function: { readonly parameters: readonly Parameter[]; readonly body: Node };
  local: { readonly bindings: readonly Binding[]; readonly body: Node };
  if: { readonly condition: Node; readonly then: Node; readonly otherwise: Node | undefined };
  unary: { readonly operator: UnaryOperator; readonly operand: Node };
  binary: { readonly operator: BinaryOperator; readonly left: Node; readonly right: Node };
  error: { readonly message: Node };
  assert: AssertNode & { readonly body: Node };
  import: { readonly form: "import" | "importstr" | "importbin"; readonly path: string };
}

/** An expression. */
export type Node = {
  [Kind in keyof Kinds]: { readonly kind: Kind; readonly at: Position } & Kinds[Kind];
}[keyof Kinds];
export type NodeOf<Kind extends keyof Kinds> = Extract<Node, { readonly kind: Kind }>;
