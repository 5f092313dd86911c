import { JmespathError } from "./error.ts";
import { type Token, tokensOf } from "./lexer.ts";
import type { Comparator, Expression, SliceParts } from "./syntax.ts";

type Kind = Token["kind"];

/** How tightly what follows an expression binds to it. What is not here does not continue one. */
const BINDING_POWERS: Partial<Record<Kind, number>> = {
  "|": 1,
  "||": 2,
  "&&": 3,
  "==": 5,
  "!=": 5,
  "<": 5,
  "<=": 5,
  ">": 5,
  ">=": 5,
  "[]": 9,
  "*": 20,
  "[?": 21,
  ".": 40,
  "!": 45,
  "{": 50,
  "[": 55,
  "(": 60,
};

/** What binds less tightly ends a projection. */
const PROJECTION_END = 10;

const CURRENT: Expression = { kind: "current" };

/** Throws {@link JmespathError}. */
export function parseJmespath(expression: string): Expression {
  return new Parser(tokensOf(expression)).whole();
}

class Parser {
  readonly #tokens: readonly Token[];
  #position = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): Expression {
    const expression = this.#expression(0);
    this.#expect("end");
    return expression;
  }

  #expression(power: number): Expression {
    let left = this.#beginning(this.#next());
    while (power < this.#power) {
      left = this.#continuation(left, this.#next());
    }
    return left;
  }

  /** An expression that begins with this token. */
  #beginning(token: Token): Expression {
    switch (token.kind) {
      case "literal":
        return { kind: "literal", value: token.value };
      case "identifier":
        return { kind: "field", name: token.name };
      case "quotedIdentifier":
        if (this.#kind === "(") {
          throw unexpected(this.#token);
        }
        return { kind: "field", name: token.name };
      case "@":
        return CURRENT;
      case "*":
        return {
          kind: "valueProjection",
          of: CURRENT,
          each: this.#kind === "]" ? CURRENT : this.#projected("*"),
        };
      case "[?":
        return this.#filter(CURRENT);
      case "[]":
        return this.#flatten(CURRENT);
      case "[":
        return this.#bracket(CURRENT) ?? this.#list();
      case "{":
        return this.#hash();
      case "&":
        return { kind: "reference", expression: this.#expression(0) };
      case "!":
        return { kind: "not", operand: this.#expression(BINDING_POWERS["!"]!) };
      case "(": {
        const inner = this.#expression(0);
        this.#expect(")");
        return inner;
      }
      default:
        throw unexpected(token);
    }
  }

  /** What `left` becomes with this token and what belongs to it. */
  #continuation(left: Expression, token: Token): Expression {
    const { kind } = token;
    switch (kind) {
      case ".":
        if (this.#takes("*")) {
          return { kind: "valueProjection", of: left, each: this.#projected(".") };
        }
        return { kind: "chain", first: left, second: this.#afterDot(BINDING_POWERS["."]!) };
      case "|":
        return { kind: "chain", first: left, second: this.#expression(BINDING_POWERS["|"]!) };
      case "||":
        return { kind: "or", left, right: this.#expression(BINDING_POWERS["||"]!) };
      case "&&":
        return { kind: "and", left, right: this.#expression(BINDING_POWERS["&&"]!) };
      case "==":
      case "!=":
      case "<":
      case "<=":
      case ">":
      case ">=":
        return this.#comparison(left, kind);
      case "[?":
        return this.#filter(left);
      case "[]":
        return this.#flatten(left);
      case "[": {
        const bracket = this.#bracket(left);
        if (bracket === undefined) {
          throw unexpected(this.#token);
        }
        return bracket;
      }
      case "(":
        return this.#call(left, token);
      default:
        throw unexpected(token);
    }
  }

  #comparison(left: Expression, comparator: Comparator): Expression {
    return { kind: "comparison", comparator, left, right: this.#expression(BINDING_POWERS[comparator]!) };
  }

  #call(callee: Expression, token: Token): Expression {
    const name = callee.kind === "field" ? callee.name : callee.kind === "literal" && callee.value;
    if (typeof name !== "string") {
      throw unexpected(token);
    }
    const values: Expression[] = [];
    while (!this.#takes(")")) {
      values.push(this.#expression(0));
      this.#takes(",");
    }
    return { kind: "call", name, arguments: values };
  }

  #filter(of: Expression): Expression {
    const condition = this.#expression(0);
    this.#expect("]");
    return { kind: "filter", of, condition, each: this.#kind === "[]" ? CURRENT : this.#projected("[?") };
  }

  #flatten(of: Expression): Expression {
    return { kind: "projection", of: { kind: "flatten", of }, each: this.#projected("[]") };
  }

  /** `[0]`, `[1:2]` or `[*]`, whose "[" is read; undefined if it is none of these. */
  #bracket(of: Expression): Expression | undefined {
    const token = this.#token;
    if (token.kind === ":" || (token.kind === "number" && this.#tokens[this.#position + 1]!.kind === ":")) {
      const slice: Expression = { kind: "slice", parts: this.#slice() };
      return {
        kind: "projection",
        of: { kind: "chain", first: of, second: slice },
        each: this.#projected("*"),
      };
    }
    if (token.kind === "number") {
      this.#next();
      this.#expect("]");
      return { kind: "chain", first: of, second: { kind: "index", index: integer(token) } };
    }
    if (token.kind === "*" && this.#tokens[this.#position + 1]!.kind === "]") {
      this.#position += 2;
      return { kind: "projection", of, each: this.#projected("*") };
    }
    return undefined;
  }

  #slice(): SliceParts {
    const parts: [number | null, number | null, number | null] = [null, null, null];
    for (let part = 0; part < parts.length && this.#kind !== "]"; ) {
      const token = this.#next();
      if (token.kind === ":") {
        part++;
      } else if (token.kind === "number") {
        parts[part] = integer(token);
      } else {
        throw unexpected(token);
      }
    }
    this.#expect("]");
    return parts;
  }

  #list(): Expression {
    const items = [this.#expression(0)];
    while (!this.#takes("]")) {
      this.#expect(",");
      items.push(this.#expression(0));
    }
    return { kind: "list", items };
  }

  #hash(): Expression {
    const members: (readonly [string, Expression])[] = [];
    do {
      const key = this.#next();
      if (key.kind !== "identifier" && key.kind !== "quotedIdentifier") {
        throw unexpected(key);
      }
      this.#expect(":");
      members.push([key.name, this.#expression(0)]);
    } while (this.#takes(",") || !this.#takes("}"));
    return { kind: "hash", members };
  }

  #afterDot(power: number): Expression {
    switch (this.#kind) {
      case "identifier":
      case "quotedIdentifier":
      case "*":
        return this.#expression(power);
      case "[":
        this.#next();
        return this.#list();
      case "{":
        this.#next();
        return this.#hash();
      default:
        throw unexpected(this.#token);
    }
  }

  /** What is done with each value of a projection that ended with a token of this kind. */
  #projected(after: Kind): Expression {
    const power = BINDING_POWERS[after]!;
    if (this.#power < PROJECTION_END) {
      return CURRENT;
    }
    if (this.#kind === "[" || this.#kind === "[?") {
      return this.#expression(power);
    }
    this.#expect(".");
    return this.#afterDot(power);
  }

  get #token(): Token {
    return this.#tokens[this.#position]!;
  }

  get #kind(): Kind {
    return this.#token.kind;
  }

  get #power(): number {
    return BINDING_POWERS[this.#kind] ?? 0;
  }

  #next(): Token {
    const token = this.#token;
    // There is nothing after the end; who reads it fails.
    this.#position = Math.min(this.#position + 1, this.#tokens.length - 1);
    return token;
  }

  #takes(kind: Kind): boolean {
    const taken = this.#kind === kind;
    if (taken) {
      this.#next();
    }
    return taken;
  }

  #expect(kind: Kind): void {
    if (!this.#takes(kind)) {
      throw unexpected(this.#token);
    }
  }
}

function integer({ digits, offset }: { readonly digits: string; readonly offset: number }): number {
  const value = Number(digits);
  if (!Number.isSafeInteger(value)) {
    throw new JmespathError(`the number at offset ${offset} is too large`);
  }
  // "-0" is an index, too.
  return value + 0;
}

function unexpected(token: Token): JmespathError {
  return new JmespathError(`unexpected ${token.kind} at offset ${token.offset}`);
}
