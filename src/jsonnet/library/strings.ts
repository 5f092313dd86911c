import { createHash } from "node:crypto";
import { JsonnetError } from "../error.ts";
import { quote, textOf } from "../manifest.ts";
import { charactersOf, type JsonnetArray, JsonnetObject, Thunk, type Value } from "../values.ts";
import { arrayOf, asArray, asNumber, asString, type Library, strict } from "./builtin.ts";
import { format } from "./format.ts";

const XML: Readonly<Record<string, string>> = {
  "<": "&lt;",
  ">": "&gt;",
  "&": "&amp;",
  '"': "&quot;",
  "'": "&apos;",
};

function escapeXml(text: string): string {
  return text.replaceAll(/[<>&"']/g, (character) => XML[character]!);
}

function asciiCase(pattern: RegExp, change: (letter: string) => string) {
  return strict("str", (text: Value) => asString(text).replaceAll(pattern, change));
}

function parse(radix: number, pattern: RegExp, kind: string) {
  return strict("str", (value: Value) => {
    const text = asString(value);
    if (!pattern.test(text)) {
      throw new JsonnetError(`${JSON.stringify(text)} is not ${kind} number`);
    }
    return Number.parseInt(text, radix);
  });
}

function strip(fromStart: boolean, fromEnd: boolean) {
  return (value: Value, characters: Value) =>
    stripped(asString(value), asString(characters), fromStart, fromEnd);
}

function stripped(text: string, characters: string, fromStart: boolean, fromEnd: boolean): string {
  const set = new Set(charactersOf(characters));
  const all = charactersOf(text);
  let [start, end] = [0, all.length];
  while (fromStart && start < end && set.has(all[start]!)) {
    start++;
  }
  while (fromEnd && end > start && set.has(all[end - 1]!)) {
    end--;
  }
  return all.slice(start, end).join("");
}

/** Splits at the first `limit` separators, or at the last ones; at all if the limit is -1. */
function split(text: Value, separator: Value, limit: number, fromEnd: boolean): JsonnetArray {
  if (separator === "" || limit < -1) {
    throw new JsonnetError(separator === "" ? "the separator is empty" : "the limit is negative, and not -1");
  }
  const parts = asString(text).split(asString(separator));
  const extra = limit === -1 ? 0 : Math.max(0, parts.length - 1 - limit);
  const at = fromEnd ? 0 : parts.length - 1 - extra;
  const together = parts.slice(at, at + extra + 1).join(asString(separator));
  return arrayOf([...parts.slice(0, at), together, ...parts.slice(at + extra + 1)]);
}

function bytesOf(value: Value): Buffer {
  if (typeof value === "string") {
    if (charactersOf(value).some((character) => character.codePointAt(0)! > 255)) {
      throw new JsonnetError("base64 takes characters up to 255; give std.encodeUTF8(…)");
    }
    return Buffer.from(value);
  }
  return Buffer.from(asArray(value).map((element) => byteOf(element)));
}

function byteOf(element: Thunk): number {
  const byte = asNumber(element.force());
  if (!Number.isInteger(byte) || byte < 0 || byte > 255) {
    throw new JsonnetError(`${byte} is not a byte`);
  }
  return byte;
}

function fromBase64(value: Value): Buffer {
  const text = asString(value);
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) {
    throw new JsonnetError("this is not base64");
  }
  return Buffer.from(text, "base64");
}

function hash(algorithm: string, name = "str") {
  return strict(name, (text: Value) => createHash(algorithm).update(asString(text)).digest("hex"));
}

function deepJoin(value: Value): string {
  return typeof value === "string"
    ? value
    : asArray(value)
        .map((element) => deepJoin(element.force()))
        .join("");
}

function findSubstring(pattern: Value, text: Value): JsonnetArray {
  const [wanted, all] = [charactersOf(asString(pattern)), charactersOf(asString(text))];
  const places = all
    .map((_, index) => index)
    .filter((place) => wanted.every((character, index) => all[place + index] === character));
  return arrayOf(wanted.length === 0 ? [] : places);
}

export const STRINGS: Library = {
  toString: strict("a", textOf),
  codepoint: strict("str", (text: Value) => {
    if (charactersOf(asString(text)).length !== 1) {
      throw new JsonnetError(`expected one character, not ${JSON.stringify(text)}`);
    }
    return asString(text).codePointAt(0)!;
  }),
  char: strict("n", (code: Value) => {
    if (!(asNumber(code) >= 0 && asNumber(code) <= 0x10ffff)) {
      throw new JsonnetError(`${code} is not the number of a character`);
    }
    return String.fromCodePoint(Math.trunc(asNumber(code)));
  }),
  substr: strict("str, from, len", (text: Value, from: Value, length: Value) => {
    if (![from, length].every((number) => asNumber(number) >= 0 && Number.isInteger(number))) {
      throw new JsonnetError("the place and the length of a part must be whole numbers, and not negative");
    }
    return charactersOf(asString(text))
      .slice(asNumber(from), asNumber(from) + asNumber(length))
      .join("");
  }),
  startsWith: strict("a, b", (a: Value, b: Value) => asString(a).startsWith(asString(b))),
  endsWith: strict("a, b", (a: Value, b: Value) => asString(a).endsWith(asString(b))),
  stripChars: strict("str, chars", strip(true, true)),
  lstripChars: strict("str, chars", strip(true, false)),
  rstripChars: strict("str, chars", strip(false, true)),
  trim: strict("str", (text: Value) =>
    asString(text).replaceAll(/^\p{White_Space}+|\p{White_Space}+$/gu, ""),
  ),
  split: strict("str, c", (text: Value, separator: Value) => split(text, separator, -1, false)),
  splitLimit: strict("str, c, maxsplits", (text: Value, separator: Value, limit: Value) =>
    split(text, separator, asNumber(limit), false),
  ),
  splitLimitR: strict("str, c, maxsplits", (text: Value, separator: Value, limit: Value) =>
    split(text, separator, asNumber(limit), true),
  ),
  strReplace: strict("str, from, to", (text: Value, from: Value, to: Value) => {
    if (asString(from) === "") {
      throw new JsonnetError("what is to be replaced is empty");
    }
    return asString(text).replaceAll(asString(from), () => asString(to));
  }),
  isEmpty: strict("str", (text: Value) => asString(text) === ""),
  asciiUpper: asciiCase(/[a-z]/g, (letter) => letter.toUpperCase()),
  asciiLower: asciiCase(/[A-Z]/g, (letter) => letter.toLowerCase()),
  equalsIgnoreCase: strict("str1, str2", (a: Value, b: Value) => {
    const lower = (text: Value) => asString(text).replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase());
    return lower(a) === lower(b);
  }),
  stringChars: strict("str", (text: Value) => arrayOf(charactersOf(asString(text)))),
  format: strict("str, vals", (text: Value, values: Value) => format(asString(text), values)),
  escapeStringJson: strict("str_", (text: Value) => quote(textOf(text))),
  escapeStringPython: strict("str", (text: Value) => quote(textOf(text))),
  escapeStringBash: strict("str_", (text: Value) => `'${textOf(text).replaceAll("'", `'"'"'`)}'`),
  escapeStringDollars: strict("str_", (text: Value) => textOf(text).replaceAll("$", () => "$$")),
  escapeStringXML: strict("str_", (text: Value) => escapeXml(textOf(text))),
  parseInt: parse(10, /^[-+]?[0-9]+$/, "a decimal"),
  parseOctal: parse(8, /^[0-7]+$/, "an octal"),
  parseHex: parse(16, /^[0-9a-fA-F]+$/, "a hexadecimal"),
  parseJson: strict("str", (text: Value) => {
    let parsed: unknown;
    try {
      parsed = JSON.parse(asString(text));
    } catch (error) {
      throw new JsonnetError(`this is not JSON: ${(error as Error).message}`);
    }
    return fromJson(parsed);
  }),
  parseYaml: strict("str", () => {
    throw new JsonnetError("std.parseYaml is not available; give JSON, and use std.parseJson");
  }),
  encodeUTF8: strict("str", (text: Value) => arrayOf([...Buffer.from(asString(text))])),
  decodeUTF8: strict("arr", (bytes: Value) => Buffer.from(asArray(bytes).map(byteOf)).toString("utf8")),
  base64: strict("input", (value: Value) => bytesOf(value).toString("base64")),
  base64Decode: strict("str", (value: Value) => fromBase64(value).toString("utf8")),
  base64DecodeBytes: strict("str", (value: Value) => arrayOf([...fromBase64(value)])),
  md5: hash("md5", "s"),
  sha1: hash("sha1"),
  sha256: hash("sha256"),
  sha512: hash("sha512"),
  sha3: hash("sha3-512"),
  lines: strict("arr", (lines: Value) =>
    asArray(lines)
      .map((line) => line.force())
      .filter((line) => line !== null)
      .map((line) => `${asString(line)}\n`)
      .join(""),
  ),
  deepJoin: strict("arr", deepJoin),
  findSubstr: strict("pat, str", findSubstring),
  resolvePath: strict(
    "f, r",
    (file: Value, relative: Value) =>
      asString(file).slice(0, asString(file).lastIndexOf("/") + 1) + asString(relative),
  ),
};

function fromJson(value: unknown): Value {
  if (Array.isArray(value)) {
    return value.map((element) => Thunk.of(fromJson(element)));
  }
  if (value !== null && typeof value === "object") {
    return JsonnetObject.of(Object.entries(value).map(([name, field]) => [name, () => fromJson(field)]));
  }
  return value as null | boolean | number | string;
}
