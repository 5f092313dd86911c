import { JsonnetError, type Position } from "./error.ts";
import { textBlock, unescapeString } from "./string-literals.ts";

export type TokenKind = "identifier" | "keyword" | "number" | "string" | "operator" | "symbol" | "end";

export interface Token {
  readonly kind: TokenKind;
  /** What is written; of a string, what it means. */
  readonly text: string;
  readonly at: Position;
}

const KEYWORDS = new Set(
  (
    "assert else error false for function if import importbin importstr in local null self super tailstrict " +
    "then true"
  ).split(" "),
);
const BLANK = /(?:[ \t\r\n]+|#[^\n]*|\/\/[^\n]*|\/\*[\s\S]*?\*\/)+/y;
const IDENTIFIER = /[A-Za-z_][A-Za-z0-9_]*/y;
const NUMBER = /(?:0|[1-9](?:_?[0-9])*)(?:\.[0-9](?:_?[0-9])*)?(?:[eE][+-]?[0-9](?:_?[0-9])*)?/y;
const SYMBOL = /[{}[\](),.;$]/y;
const OPERATOR = /[!:~+\-&|^=<>*/%]+/y;
const VERBATIM = /@(?:"((?:[^"]|"")*)"|'((?:[^']|'')*)')/y;
const QUOTED = /"((?:[^"\\]|\\[\s\S])*)"|'((?:[^'\\]|\\[\s\S])*)'/y;

/** Splits a Jsonnet file into its tokens; the last one is of the kind "end". Throws {@link JsonnetError}. */
export function tokenize(file: string, text: string): Token[] {
  const tokens: Token[] = [];
  const place = new LineCounter(file, text);
  let offset = 0;
  const match = (pattern: RegExp) => {
    pattern.lastIndex = offset;
    return pattern.exec(text);
  };
  for (;;) {
    offset += match(BLANK)?.[0].length ?? 0;
    const at = place.of(offset);
    if (offset === text.length) {
      tokens.push({ kind: "end", text: "end of file", at });
      return tokens;
    }
    const { kind, value, length } = next(text, offset, match, at);
    tokens.push({ kind, text: value, at });
    offset += length;
  }
}

interface Lexeme {
  readonly kind: TokenKind;
  readonly value: string;
  readonly length: number;
}

function next(
  text: string,
  offset: number,
  match: (pattern: RegExp) => RegExpExecArray | null,
  at: Position,
): Lexeme {
  const whole = (kind: TokenKind, value: string): Lexeme => ({ kind, value, length: value.length });
  const identifier = match(IDENTIFIER)?.[0];
  if (identifier !== undefined) {
    return whole(KEYWORDS.has(identifier) ? "keyword" : "identifier", identifier);
  }
  const number = match(NUMBER)?.[0];
  if (number !== undefined) {
    if (/[0-9_]/.test(text[offset + number.length] ?? "")) {
      throw new JsonnetError(`a number cannot go on like this: ${number}${text[offset + number.length]}`, at);
    }
    return whole("number", number);
  }
  const quoted = match(QUOTED);
  if (quoted !== null) {
    return { kind: "string", value: unescapeString(quoted[1] ?? quoted[2]!, at), length: quoted[0].length };
  }
  const verbatim = match(VERBATIM);
  if (verbatim !== null) {
    const value = verbatim[1]?.replaceAll('""', '"') ?? verbatim[2]!.replaceAll("''", "'");
    return { kind: "string", value, length: verbatim[0].length };
  }
  if (text.startsWith("|||", offset)) {
    return { kind: "string", ...textBlock(text, offset, at) };
  }
  const symbol = match(SYMBOL)?.[0];
  if (symbol !== undefined) {
    return whole("symbol", symbol);
  }
  const operator = match(OPERATOR)?.[0];
  if (operator !== undefined && !operator.startsWith("/*")) {
    return whole("operator", operatorOf(operator));
  }
  const beginning = text.slice(offset, offset + 2);
  throw new JsonnetError(
    /^["'@]/.test(beginning)
      ? "this string does not end"
      : beginning === "/*"
        ? "this comment does not end"
        : `this is not Jsonnet: ${JSON.stringify(String.fromCodePoint(text.codePointAt(offset)!))}`,
    at,
  );
}

/** An operator ends before a comment or a text block, and, if it is longer, not in what can be a unary operator. */
function operatorOf(characters: string): string {
  const [before] = characters.slice(1).split(/\/\/|\/\*|\|\|\|/, 1);
  let operator = characters[0]! + before;
  while (operator.length > 1 && /[-+~!]$/.test(operator)) {
    operator = operator.slice(0, -1);
  }
  return operator;
}

/** Finds lines and columns of offsets, which must come in order. */
class LineCounter {
  readonly #file: string;
  readonly #text: string;
  #line = 1;
  #lineStart = 0;

  constructor(file: string, text: string) {
    this.#file = file;
    this.#text = text;
  }

  of(offset: number): Position {
    for (;;) {
      const end = this.#text.indexOf("\n", this.#lineStart);
      if (end === -1 || end >= offset) {
        return { file: this.#file, line: this.#line, column: offset - this.#lineStart + 1 };
      }
      this.#line++;
      this.#lineStart = end + 1;
    }
  }
}
