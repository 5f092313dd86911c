/*
 * Longer than 400 lines because the grammar is one: each of its rules is a method that calls others.
 */
import { JsonnetError, type Position } from "./error.ts";
import { type Token, type TokenKind, tokenize } from "./lexer.ts";
import type {
  AssertNode,
  BinaryOperator,
  Binding,
  FieldNode,
  Node,
  Parameter,
  Specification,
  UnaryOperator,
  Visibility,
} from "./syntax.ts";

/** Reads a Jsonnet file into one expression. Throws {@link JsonnetError}, with the place, if it is not Jsonnet. */
export function parse(file: string, text: string): Node {
  const parser = new Parser(tokenize(file, text));
  return parser.file();
}

/** Binary operators by how loosely they bind. */
const LEVELS: readonly (readonly string[])[] = [
  ["||"],
  ["&&"],
  ["|"],
  ["^"],
  ["&"],
  ["==", "!="],
  ["<", ">", "<=", ">=", "in"],
  ["<<", ">>"],
  ["+", "-"],
  ["*", "/", "%"],
];

class Parser {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  file(): Node {
    const node = this.#expression();
    if (this.#token.kind !== "end") {
      throw this.#unexpected("the end of the file");
    }
    return node;
  }

  get #token(): Token {
    return this.#tokens[this.#next]!;
  }

  #is(text: string): boolean {
    const { kind, text: own } = this.#token;
    return own === text && (kind === "symbol" || kind === "operator" || kind === "keyword");
  }

  #takes(text: string): boolean {
    const is = this.#is(text);
    this.#next += is ? 1 : 0;
    return is;
  }

  #expect(text: string): Token {
    const token = this.#token;
    if (!this.#takes(text)) {
      throw this.#unexpected(JSON.stringify(text));
    }
    return token;
  }

  #take(kind: TokenKind, what: string): Token {
    const token = this.#token;
    if (token.kind !== kind) {
      throw this.#unexpected(what);
    }
    this.#next++;
    return token;
  }

  #unexpected(wanted: string): JsonnetError {
    const { kind, text, at } = this.#token;
    return new JsonnetError(`expected ${wanted}, not ${kind === "end" ? text : JSON.stringify(text)}`, at);
  }

  #expression(): Node {
    return this.#binary(0);
  }

  #binary(level: number): Node {
    const operators = LEVELS[level];
    if (operators === undefined) {
      return this.#unary();
    }
    let left = this.#binary(level + 1);
    for (;;) {
      const operator = operators.find((candidate) => this.#is(candidate));
      if (operator === undefined) {
        return left;
      }
      const { at } = this.#token;
      this.#next++;
      if (operator === "in" && this.#is("super") && !this.#followsSuper()) {
        this.#next++;
        left = { kind: "inSuper", at, name: left };
        continue;
      }
      const right = this.#binary(level + 1);
      left = { kind: "binary", at, operator: operator as BinaryOperator, left, right };
    }
  }

  #followsSuper(): boolean {
    const { kind, text } = this.#tokens[this.#next + 1]!;
    return kind === "symbol" && (text === "." || text === "[");
  }

  #unary(): Node {
    const { at } = this.#token;
    const operator = (["!", "+", "-", "~"] as const).find((candidate) => this.#is(candidate));
    if (operator !== undefined) {
      this.#next++;
      return { kind: "unary", at, operator: operator satisfies UnaryOperator, operand: this.#unary() };
    }
    return this.#openEnded() ?? this.#postfix(this.#primary());
  }

  /** What goes on as far as it can. */
  #openEnded(): Node | undefined {
    const { at } = this.#token;
    if (this.#takes("local")) {
      const bindings = this.#list(";", () => this.#binding());
      return { kind: "local", at, bindings, body: this.#expression() };
    }
    if (this.#takes("if")) {
      const condition = this.#expression();
      this.#expect("then");
      const then = this.#expression();
      const otherwise = this.#takes("else") ? this.#expression() : undefined;
      return { kind: "if", at, condition, then, otherwise };
    }
    if (this.#takes("function")) {
      const parameters = this.#parameters();
      return { kind: "function", at, parameters, body: this.#expression() };
    }
    if (this.#takes("error")) {
      return { kind: "error", at, message: this.#expression() };
    }
    if (this.#is("assert")) {
      const assertion = this.#assert();
      this.#expect(";");
      return { kind: "assert", ...assertion, body: this.#expression() };
    }
    for (const form of ["import", "importstr", "importbin"] as const) {
      if (this.#takes(form)) {
        const path = this.#take(
          "string",
          "the path of a file as a literal string, as imports are not computed",
        );
        return { kind: "import", at, form, path: path.text };
      }
    }
    return undefined;
  }

  #primary(): Node {
    const { kind, text, at } = this.#token;
    switch (kind) {
      case "number":
        this.#next++;
        return { kind: "literal", at, value: numberOf(text, at) };
      case "string":
        this.#next++;
        return { kind: "literal", at, value: text };
      case "identifier":
        this.#next++;
        return { kind: "variable", at, name: text };
    }
    for (const [word, value] of [
      ["null", null],
      ["true", true],
      ["false", false],
    ] as const) {
      if (this.#takes(word)) {
        return { kind: "literal", at, value };
      }
    }
    if (this.#takes("self")) {
      return { kind: "self", at };
    }
    if (this.#takes("$")) {
      return { kind: "root", at };
    }
    if (this.#takes("super")) {
      return { kind: "superIndex", at, index: this.#superIndex() };
    }
    if (this.#takes("(")) {
      const inner = this.#expression();
      this.#expect(")");
      return inner;
    }
    if (this.#takes("[")) {
      return this.#array(at);
    }
    if (this.#takes("{")) {
      return this.#object(at);
    }
    throw this.#unexpected("an expression");
  }

  #superIndex(): Node {
    if (this.#takes(".")) {
      return this.#fieldName();
    }
    this.#expect("[");
    const index = this.#expression();
    this.#expect("]");
    return index;
  }

  #fieldName(): Node {
    const { text, at } = this.#take("identifier", "the name of a field");
    return { kind: "literal", at, value: text };
  }

  #postfix(primary: Node): Node {
    let node = primary;
    for (;;) {
      const { at } = this.#token;
      if (this.#takes(".")) {
        node = { kind: "index", at, target: node, index: this.#fieldName() };
      } else if (this.#takes("[")) {
        node = this.#indexOrSlice(node, at);
      } else if (this.#takes("(")) {
        node = this.#call(node, at);
      } else if (this.#takes("{")) {
        node = { kind: "binary", at, operator: "+", left: node, right: this.#object(at) };
      } else {
        return node;
      }
    }
  }

  #indexOrSlice(target: Node, at: Position): Node {
    const bounds: (Node | undefined)[] = [undefined];
    while (!this.#takes("]")) {
      if (this.#takes("::")) {
        bounds.push(undefined, undefined);
      } else if (this.#takes(":")) {
        bounds.push(undefined);
      } else if (bounds.at(-1) === undefined) {
        bounds[bounds.length - 1] = this.#expression();
      } else {
        throw this.#unexpected('"]"');
      }
    }
    if (bounds.length > 3 || (bounds.length === 1 && bounds[0] === undefined)) {
      throw new JsonnetError("expected an index, or a slice of at most start, end and step", at);
    }
    return bounds.length === 1
      ? { kind: "index", at, target, index: bounds[0]! }
      : { kind: "slice", at, target, bounds };
  }

  #call(target: Node, at: Position): Node {
    const positional: Node[] = [];
    const named: Binding[] = [];
    this.#list(")", () => {
      const { kind, text, at: here } = this.#token;
      const following = this.#tokens[this.#next + 1];
      if (kind === "identifier" && following?.kind === "operator" && following.text === "=") {
        this.#next += 2;
        named.push({ name: text, at: here, value: this.#expression() });
      } else if (named.length > 0) {
        throw new JsonnetError("a positional argument cannot follow a named one", here);
      } else {
        positional.push(this.#expression());
      }
    });
    return { kind: "call", at, target, positional, named, tailstrict: this.#takes("tailstrict") };
  }

  /** Items with commas between, and perhaps one after the last, up to and with `end`. */
  #list<Item>(end: ")" | "]" | ";", item: () => Item): Item[] {
    const items: Item[] = [];
    while (!this.#takes(end)) {
      items.push(item());
      if (!this.#takes(",")) {
        this.#expect(end);
        break;
      }
    }
    return items;
  }

  #parameters(): Parameter[] {
    this.#expect("(");
    return this.#list(")", () => {
      const { text: name, at } = this.#take("identifier", "the name of a parameter");
      return { name, at, fallback: this.#takes("=") ? this.#expression() : undefined };
    });
  }

  #binding(): Binding {
    const { text: name, at } = this.#take("identifier", "the name of a variable");
    const parameters = this.#is("(") ? this.#parameters() : undefined;
    this.#expect("=");
    return { name, at, value: functionOf(parameters, this.#expression(), at) };
  }

  #assert(): AssertNode {
    const { at } = this.#expect("assert");
    const condition = this.#expression();
    return { at, condition, message: this.#takes(":") ? this.#expression() : undefined };
  }

  #array(at: Position): Node {
    if (this.#takes("]")) {
      return { kind: "array", at, elements: [] };
    }
    const first = this.#expression();
    const comma = this.#takes(",");
    if (this.#is("for")) {
      const specifications = this.#specifications();
      this.#expect("]");
      return { kind: "arrayComprehension", at, element: first, specifications };
    }
    if (!comma) {
      this.#expect("]");
      return { kind: "array", at, elements: [first] };
    }
    return { kind: "array", at, elements: [first, ...this.#list("]", () => this.#expression())] };
  }

  #specifications(): Specification[] {
    const specifications: Specification[] = [];
    for (;;) {
      if (this.#takes("for")) {
        const { text: variable } = this.#take("identifier", "the name of a variable");
        this.#expect("in");
        specifications.push({ kind: "for", variable, array: this.#expression() });
      } else if (this.#takes("if")) {
        specifications.push({ kind: "if", condition: this.#expression() });
      } else {
        return specifications;
      }
    }
  }

  #object(at: Position): Node {
    const fields: FieldNode[] = [];
    const locals: Binding[] = [];
    const asserts: AssertNode[] = [];
    let specifications: Specification[] | undefined;
    while (!this.#takes("}")) {
      if (this.#takes("local")) {
        locals.push(this.#binding());
      } else if (this.#is("assert")) {
        asserts.push(this.#assert());
      } else {
        fields.push(this.#field());
      }
      const comma = this.#takes(",");
      if (this.#is("for")) {
        specifications = this.#specifications();
        this.#expect("}");
        break;
      }
      if (!comma) {
        this.#expect("}");
        break;
      }
    }
    if (specifications !== undefined) {
      checkComprehension(fields, asserts, at);
    }
    return { kind: "object", at, fields, locals, asserts, specifications };
  }

  #field(): FieldNode {
    const { kind, at } = this.#token;
    const computed = this.#takes("[");
    let name: Node;
    if (computed) {
      name = this.#expression();
      this.#expect("]");
    } else if (kind === "string") {
      name = this.#primary();
    } else {
      name = this.#fieldName();
    }
    const parameters = this.#is("(") ? this.#parameters() : undefined;
    const match = /^(\+?)(:{1,3})$/.exec(this.#token.kind === "operator" ? this.#token.text : "");
    if (match === null) {
      throw this.#unexpected('":", "::" or ":::"');
    }
    this.#next++;
    if (match[1] === "+" && parameters !== undefined) {
      throw new JsonnetError("a method cannot be added to", at);
    }
    const value = functionOf(parameters, this.#expression(), at);
    return { name, computed, at, visibility: match[2] as Visibility, adds: match[1] === "+", value };
  }
}

function functionOf(parameters: readonly Parameter[] | undefined, body: Node, at: Position): Node {
  return parameters === undefined ? body : { kind: "function", at, parameters, body };
}

function numberOf(text: string, at: Position): number {
  const value = Number(text.replaceAll("_", ""));
  if (!Number.isFinite(value)) {
    throw new JsonnetError(`the number ${text} is too large`, at);
  }
  return value;
}

function checkComprehension(
  fields: readonly FieldNode[],
  asserts: readonly AssertNode[],
  at: Position,
): void {
  const [field, ...more] = fields;
  if (field === undefined || more.length > 0 || asserts.length > 0) {
    throw new JsonnetError("an object comprehension has one field, and no asserts", at);
  }
  if (!field.computed) {
    throw new JsonnetError("the field of an object comprehension needs a computed name: [name]", field.at);
  }
  if (field.visibility !== ":") {
    throw new JsonnetError("the field of an object comprehension cannot be hidden", field.at);
  }
}
