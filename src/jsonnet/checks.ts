import { JsonnetError, type Position } from "./error.ts";
import type { Binding, Node, NodeOf, Parameter, Specification } from "./syntax.ts";

/**
 * Finds what is wrong with an expression wherever it stands, evaluated or not: unknown variables, two of one name,
 * `self`, `super` and `$` outside of an object. Throws {@link JsonnetError}.
 */
export function check(node: Node, variables: ReadonlySet<string>): void {
  visit(node, { variables, inObject: false });
}

interface Surroundings {
  readonly variables: ReadonlySet<string>;
  readonly inObject: boolean;
}

function visit(node: Node | undefined, around: Surroundings): void {
  switch (node?.kind) {
    case undefined:
    case "literal":
    case "import":
      return;
    case "variable":
      if (!around.variables.has(node.name)) {
        throw new JsonnetError(`unknown variable: ${node.name}`, node.at);
      }
      return;
    case "self":
    case "root":
      requireObject(node.kind === "self" ? "self" : "$", node.at, around);
      return;
    case "superIndex":
      requireObject("super", node.at, around);
      visit(node.index, around);
      return;
    case "inSuper":
      requireObject("super", node.at, around);
      visit(node.name, around);
      return;
    case "array":
      for (const element of node.elements) {
        visit(element, around);
      }
      return;
    case "arrayComprehension":
      visit(node.element, comprehension(node.specifications, around));
      return;
    case "object":
      visitObject(node, around);
      return;
    case "index":
      visit(node.target, around);
      visit(node.index, around);
      return;
    case "slice":
      for (const part of [node.target, ...node.bounds]) {
        visit(part, around);
      }
      return;
    case "call":
      visitCall(node, around);
      return;
    case "function":
      visitFunction(node.parameters, node.body, around);
      return;
    case "local":
      visit(node.body, bound(node.bindings, around));
      return;
    case "if":
      for (const part of [node.condition, node.then, node.otherwise]) {
        visit(part, around);
      }
      return;
    case "unary":
      visit(node.operand, around);
      return;
    case "binary":
      visit(node.left, around);
      visit(node.right, around);
      return;
    case "error":
      visit(node.message, around);
      return;
    case "assert":
      for (const part of [node.condition, node.message, node.body]) {
        visit(part, around);
      }
  }
}

function requireObject(word: string, at: Position, around: Surroundings): void {
  if (!around.inObject) {
    throw new JsonnetError(`${word} has no meaning outside of an object`, at);
  }
}

function withNames(
  kind: string,
  named: readonly { readonly name: string; readonly at: Position }[],
  around: Surroundings,
): Surroundings {
  requireDifferent(kind, named);
  return { ...around, variables: new Set([...around.variables, ...named.map(({ name }) => name)]) };
}

function requireDifferent(
  kind: string,
  named: readonly { readonly name: string; readonly at: Position }[],
): void {
  const seen = new Set<string>();
  for (const { name, at } of named) {
    if (seen.has(name)) {
      throw new JsonnetError(`there are two ${kind} of the name ${name}`, at);
    }
    seen.add(name);
  }
}

function bound(bindings: readonly Binding[], around: Surroundings): Surroundings {
  const inside = withNames("variables", bindings, around);
  for (const { value } of bindings) {
    visit(value, inside);
  }
  return inside;
}

function visitFunction(parameters: readonly Parameter[], body: Node, around: Surroundings): void {
  const inside = withNames("parameters", parameters, around);
  for (const { fallback } of parameters) {
    visit(fallback, inside);
  }
  visit(body, inside);
}

function visitCall(node: NodeOf<"call">, around: Surroundings): void {
  requireDifferent("arguments", node.named);
  for (const part of [node.target, ...node.positional, ...node.named.map(({ value }) => value)]) {
    visit(part, around);
  }
}

function comprehension(specifications: readonly Specification[], around: Surroundings): Surroundings {
  let inside = around;
  for (const specification of specifications) {
    if (specification.kind === "if") {
      visit(specification.condition, inside);
    } else {
      visit(specification.array, inside);
      inside = { ...inside, variables: new Set([...inside.variables, specification.variable]) };
    }
  }
  return inside;
}

function visitObject(node: NodeOf<"object">, around: Surroundings): void {
  const outside = node.specifications === undefined ? around : comprehension(node.specifications, around);
  const inside = bound(node.locals, { ...outside, inObject: true });
  const names = node.fields.flatMap(({ name, computed, at }) =>
    !computed && name.kind === "literal" ? [{ name: String(name.value), at }] : [],
  );
  requireDifferent("fields", names);
  for (const field of node.fields) {
    visit(field.name, outside);
    visit(field.value, inside);
  }
  for (const assertion of node.asserts) {
    visit(assertion.condition, inside);
    visit(assertion.message, inside);
  }
}
