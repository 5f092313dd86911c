import { JsonnetError, type Position } from "./error.ts";

const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

/** Replaces the escape sequences of a quoted string. Throws {@link JsonnetError} for one that does not exist. */
export function unescapeString(text: string, at: Position): string {
  const value = text.replaceAll(
    /\\(?:u([0-9a-fA-F]{4})|([\s\S]))/g,
    (sequence, hex?: string, letter?: string) => {
      const character = hex === undefined ? ESCAPES[letter!] : String.fromCharCode(Number.parseInt(hex, 16));
      if (character === undefined) {
        throw new JsonnetError(`unknown escape sequence in a string: ${sequence}`, at);
      }
      return character;
    },
  );
  if (!value.isWellFormed()) {
    throw new JsonnetError("a string has half of a surrogate pair", at);
  }
  return value;
}

/**
 * Reads the text block that begins with the ||| at `offset`: lines that are indented at least as the first one, without
 * that indentation, until a line that has only ||| after less of it. After |||- the last line break is left out.
 */
export function textBlock(
  text: string,
  offset: number,
  at: Position,
): { readonly value: string; readonly length: number } {
  const opening = /\|\|\|(-?)[ \t\r]*\n/y;
  opening.lastIndex = offset;
  const opened = opening.exec(text);
  if (opened === null) {
    throw new JsonnetError("a text block begins with ||| at the end of a line", at);
  }
  let position = opening.lastIndex;
  const rest = text.slice(position);
  const indentation = /^(?:\r?\n)*([ \t]*)/.exec(rest)![1]!;
  if (indentation === "") {
    throw new JsonnetError("the first line of a text block must be indented", at);
  }
  let value = "";
  for (;;) {
    const end = text.indexOf("\n", position);
    const line = text.slice(position, end === -1 ? text.length : end);
    if (line.startsWith(indentation)) {
      value += `${line.slice(indentation.length)}\n`;
    } else if (line === "" || line === "\r") {
      value += `${line}\n`;
    } else {
      const closing = /^[ \t]*\|\|\|/.exec(line);
      if (closing === null) {
        throw new JsonnetError("a text block ends with ||| on a line that is indented less", at);
      }
      return {
        value: opened[1] === "-" ? value.slice(0, -1) : value,
        length: position + closing[0].length - offset,
      };
    }
    if (end === -1) {
      throw new JsonnetError("this text block does not end", at);
    }
    position = end + 1;
  }
}
