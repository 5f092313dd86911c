import { JmespathError } from "./error.ts";
import type { Comparator } from "./syntax.ts";
import { fromJson, type Value } from "./values.ts";

type Symbol = "." | "*" | "," | ":" | "{" | "}" | "[" | "]" | "(" | ")" | "@" | "&" | "|" | "!";
type Operator = "&&" | "||" | "[?" | "[]" | Comparator;

export type Token = { readonly offset: number } & (
  | { readonly kind: Symbol | Operator | "end" }
  | { readonly kind: "identifier" | "quotedIdentifier"; readonly name: string }
  | { readonly kind: "number"; readonly digits: string }
  | { readonly kind: "literal"; readonly value: Value }
);

/** All kinds of tokens at one place, longer ones first. */
const TOKEN = new RegExp(
  [
    /(?<space>[ \t\n\r]+)/,
    /(?<identifier>[A-Za-z_][A-Za-z0-9_]*)/,
    /(?<number>-?[0-9]+)/,
    /"(?<quoted>(?:[^"\\]|\\.)*)"/,
    /'(?<raw>(?:[^'\\]|\\'|\\(?!'))*)'/,
    /`(?<json>(?:[^`\\]|\\.)*)`/,
    /(?<symbol>\[\?|\[\]|&&|\|\||[=!<>]=|[.*,:{}[\]()@&|!<>])/,
  ]
    .map(({ source }) => source)
    .join("|"),
  "sy",
);

/** The tokens of an expression, and the end. Throws {@link JmespathError}. */
export function tokensOf(expression: string): readonly Token[] {
  const tokens: Token[] = [];
  let offset = 0;
  while (offset < expression.length) {
    TOKEN.lastIndex = offset;
    const found = TOKEN.exec(expression);
    if (found === null) {
      throw new JmespathError(
        `unexpected ${JSON.stringify(expression.slice(offset, offset + 1))} at offset ${offset}`,
      );
    }
    const token = tokenOf(found.groups!, offset);
    if (token !== undefined) {
      tokens.push(token);
    }
    offset = TOKEN.lastIndex;
  }
  return [...tokens, { kind: "end", offset }];
}

/** Undefined for white space. */
function tokenOf(
  { space, identifier, number, quoted, raw, json, symbol }: Record<string, string | undefined>,
  offset: number,
): Token | undefined {
  if (space !== undefined) {
    return undefined;
  }
  if (identifier !== undefined) {
    return { kind: "identifier", name: identifier, offset };
  }
  if (number !== undefined) {
    return { kind: "number", digits: number, offset };
  }
  if (quoted !== undefined) {
    return { kind: "quotedIdentifier", name: parsed(`"${quoted}"`, offset) as string, offset };
  }
  if (raw !== undefined) {
    return { kind: "literal", value: raw.replaceAll("\\'", "'"), offset };
  }
  if (json !== undefined) {
    return { kind: "literal", value: parsed(json.replaceAll("\\`", "`"), offset), offset };
  }
  return { kind: symbol as Symbol | Operator, offset };
}

function parsed(json: string, offset: number): Value {
  try {
    return fromJson(json);
  } catch (error) {
    throw new JmespathError(`no JSON at offset ${offset}: ${(error as Error).message}`, { cause: error });
  }
}
