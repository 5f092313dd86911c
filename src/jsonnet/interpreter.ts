import { JsonnetError, type Position } from "./error.ts";
import { textOf } from "./manifest.ts";
import { add, at, binary, slice, unary } from "./operators.ts";
import type { AssertNode, Binding, FieldNode, Node, NodeOf, Parameter, Specification } from "./syntax.ts";
import {
  type Arguments,
  expectType,
  type Field,
  JsonnetFunction,
  JsonnetObject,
  type Layer,
  Thunk,
  type Value,
} from "./values.ts";

/** How many values and calls may wait for each other, as in go-jsonnet. */
const MAXIMUM_DEPTH = 500;

interface Place {
  readonly object: JsonnetObject;
  readonly layer: number;
}

/** The variables that an expression sees, and the object that it stands in. */
export class Scope {
  readonly #outer: Scope | undefined;
  readonly #variables: ReadonlyMap<string, Thunk>;
  readonly self: Place | undefined;
  readonly root: JsonnetObject | undefined;

  constructor(outer: Scope | undefined, variables: ReadonlyMap<string, Thunk>, self = outer?.self) {
    this.#outer = outer;
    this.#variables = variables;
    this.self = self;
    this.root = outer?.root ?? self?.object;
  }

  /** The variable, which the static check has found to be there. */
  get(name: string): Thunk {
    return this.#variables.get(name) ?? this.#outer!.get(name);
  }
}

/** A function that is written in Jsonnet. */
class Closure extends JsonnetFunction {
  readonly #parameters: readonly Parameter[];
  readonly #scope: Scope;
  readonly #interpreter: Interpreter;
  readonly body: Node;

  constructor(interpreter: Interpreter, { parameters, body }: NodeOf<"function">, scope: Scope) {
    super(
      parameters.map(({ name, fallback }) => ({ name, required: fallback === undefined })),
      (given) => interpreter.evaluateDeeper(body, this.scopeOf(given)),
    );
    this.#parameters = parameters;
    this.#scope = scope;
    this.#interpreter = interpreter;
    this.body = body;
  }

  /** What the body sees. A default value may use other parameters. */
  scopeOf(given: readonly (Thunk | undefined)[]): Scope {
    const variables = new Map<string, Thunk>();
    const scope = new Scope(this.#scope, variables);
    for (const [index, { name, fallback }] of this.#parameters.entries()) {
      variables.set(name, given[index] ?? this.#interpreter.later(fallback!, scope));
    }
    return scope;
  }
}

/** Evaluates expressions, each when its value is needed. All methods throw {@link JsonnetError}. */
export class Interpreter {
  readonly #import: (node: NodeOf<"import">) => Value;
  #depth = 0;

  /** `importFile` gives the value of an import. */
  constructor(importFile: (node: NodeOf<"import">) => Value) {
    this.#import = importFile;
  }

  later(node: Node, scope: Scope): Thunk {
    return node.kind === "literal" ? Thunk.of(node.value) : new Thunk(() => this.evaluateDeeper(node, scope));
  }

  /** Evaluates what another value or call waits for. */
  evaluateDeeper(node: Node, scope: Scope): Value {
    if (this.#depth >= MAXIMUM_DEPTH) {
      throw new JsonnetError(
        `more than ${MAXIMUM_DEPTH} values and calls wait for each other; is there an infinite recursion?`,
        node.at,
      );
    }
    this.#depth++;
    try {
      return this.evaluate(node, scope);
    } finally {
      this.#depth--;
    }
  }

  evaluate(start: Node, outside: Scope): Value {
    let node = start;
    let scope = outside;
    try {
      for (;;) {
        switch (node.kind) {
          case "local":
            scope = this.#bind(node.bindings, scope);
            node = node.body;
            continue;
          case "if": {
            const { then, otherwise }: NodeOf<"if"> = node;
            const next = this.#condition(node.condition, scope) ? then : otherwise;
            if (next === undefined) {
              return null;
            }
            node = next;
            continue;
          }
          case "assert":
            this.#assert(node, scope, "an assertion failed");
            node = node.body;
            continue;
          case "call": {
            const [target, given] = this.#call(node, scope);
            if (!node.tailstrict || !(target instanceof Closure)) {
              return target.call(given);
            }
            scope = target.scopeOf(target.place(given));
            node = target.body;
            continue;
          }
          default:
            return this.#value(node, scope);
        }
      }
    } catch (error) {
      throw located(error, node.at);
    }
  }

  #value(node: Exclude<Node, { kind: "local" | "if" | "assert" | "call" }>, scope: Scope): Value {
    switch (node.kind) {
      case "literal":
        return node.value;
      case "variable":
        return scope.get(node.name).force();
      case "self":
        return scope.self!.object;
      case "root":
        return scope.root!;
      case "array":
        return node.elements.map((element) => this.later(element, scope));
      case "arrayComprehension":
        return this.#scopes(node.specifications, scope).map((inside) => this.later(node.element, inside));
      case "object":
        return new JsonnetObject([this.#layer(node, scope)]);
      case "index":
        return at(this.evaluate(node.target, scope), this.evaluate(node.index, scope));
      case "slice": {
        const [start, end, step] = [0, 1, 2].map((index) => {
          const bound = node.bounds[index];
          return bound === undefined ? null : this.evaluate(bound, scope);
        });
        return slice(this.evaluate(node.target, scope), start!, end!, step!);
      }
      case "superIndex": {
        const name = expectType(this.evaluate(node.index, scope), "string", "a field's name");
        return scope.self!.object.getBelow(scope.self!.layer, name);
      }
      case "inSuper": {
        const name = expectType(this.evaluate(node.name, scope), "string", "a field's name");
        return scope.self!.object.hasBelow(scope.self!.layer, name);
      }
      case "function":
        return new Closure(this, node, scope);
      case "unary":
        return unary(node.operator, this.evaluate(node.operand, scope));
      case "binary":
        return this.#binary(node, scope);
      case "error":
        throw new JsonnetError(textOf(this.evaluate(node.message, scope)), node.at);
      case "import":
        return this.#import(node);
    }
  }

  #binary({ operator, left, right }: NodeOf<"binary">, scope: Scope): Value {
    if (operator === "&&" || operator === "||") {
      return this.#condition(left, scope) === (operator === "||")
        ? operator === "||"
        : this.#condition(right, scope);
    }
    return binary(operator, this.evaluate(left, scope), this.evaluate(right, scope));
  }

  #condition(node: Node, scope: Scope): boolean {
    return expectType(this.evaluate(node, scope), "boolean", "a condition");
  }

  #assert({ condition, message, at }: AssertNode, scope: Scope, reason: string): void {
    if (!this.#condition(condition, scope)) {
      throw new JsonnetError(message === undefined ? reason : textOf(this.evaluate(message, scope)), at);
    }
  }

  #bind(bindings: readonly Binding[], outer: Scope, self?: Place): Scope {
    const variables = new Map<string, Thunk>();
    const scope = new Scope(outer, variables, self);
    for (const { name, value } of bindings) {
      variables.set(name, this.later(value, scope));
    }
    return scope;
  }

  #call(node: NodeOf<"call">, scope: Scope): [JsonnetFunction, Arguments] {
    const target = expectType(this.evaluate(node.target, scope), "function", "what is called");
    const positional = node.positional.map((argument) => this.later(argument, scope));
    const named = new Map(node.named.map(({ name, value }) => [name, this.later(value, scope)]));
    if (node.tailstrict) {
      for (const argument of [...positional, ...named.values()]) {
        argument.force();
      }
    }
    return [target, { positional, named }];
  }

  /** A scope for each combination of the values that a comprehension goes through. */
  #scopes([first, ...rest]: readonly Specification[], scope: Scope): Scope[] {
    if (first === undefined) {
      return [scope];
    }
    if (first.kind === "if") {
      return this.#condition(first.condition, scope) ? this.#scopes(rest, scope) : [];
    }
    const elements = expectType(
      this.evaluate(first.array, scope),
      "array",
      "what a comprehension goes through",
    );
    return elements.flatMap((element) =>
      this.#scopes(rest, new Scope(scope, new Map([[first.variable, element]]))),
    );
  }

  #layer(node: NodeOf<"object">, scope: Scope): Layer {
    const fields = new Map<string, Field>();
    const scopes = node.specifications === undefined ? [scope] : this.#scopes(node.specifications, scope);
    for (const outside of scopes) {
      const inside = this.#insides(node.locals, outside);
      for (const field of node.fields) {
        const name = this.evaluate(field.name, outside);
        if (name === null) {
          continue;
        }
        const key = expectType(name, "string", "a field's name");
        if (fields.has(key)) {
          throw new JsonnetError(`there are two fields of the name ${key}`, field.at);
        }
        fields.set(key, this.#field(field, key, inside));
      }
    }
    if (node.asserts.length === 0) {
      return { fields };
    }
    const inside = this.#insides(node.locals, scope);
    return {
      fields,
      checkAsserts: (object, layer) => {
        for (const assertion of node.asserts) {
          this.#assert(assertion, inside({ object, layer }), "an assertion of an object failed");
        }
      },
    };
  }

  /** What the fields of an object see: the same for all of them. */
  #insides(locals: readonly Binding[], outside: Scope): (place: Place) => Scope {
    const known = new WeakMap<JsonnetObject, Scope>();
    return (place) => {
      let scope = known.get(place.object);
      if (scope?.self?.layer !== place.layer) {
        scope = this.#bind(locals, outside, place);
        known.set(place.object, scope);
      }
      return scope;
    };
  }

  #field(
    { visibility, adds, value, at: position }: FieldNode,
    name: string,
    inside: (place: Place) => Scope,
  ): Field {
    return {
      visibility,
      value: (object, layer) => {
        const own = this.evaluateDeeper(value, inside({ object, layer }));
        try {
          return adds && object.hasBelow(layer, name) ? add(object.getBelow(layer, name), own) : own;
        } catch (error) {
          throw located(error, position);
        }
      },
    };
  }
}

/** The error with the place; an exhausted stack as an error of the program. */
function located(error: unknown, position: Position): unknown {
  if (error instanceof JsonnetError) {
    return error.through(position);
  }
  if (error instanceof RangeError) {
    return new JsonnetError(
      `this is nested too deeply, or too large; is there an infinite recursion? (${error.message})`,
      position,
    );
  }
  return error;
}
