import { JsonnetError } from "./error.ts";
import { type JsonnetArray, JsonnetObject, typeOf, type Value } from "./values.ts";

/** How JSON is laid out. */
export interface Layout {
  /** What is indented more for each level; undefined: all is in one line. */
  readonly indentation: string | undefined;
  readonly lineBreak: string;
  /** Between a name and its value. */
  readonly colon: string;
  /** What stands between the brackets of what is empty; undefined: an empty line and the indentation. */
  readonly empty: string | undefined;
  /** Whether numbers get as few digits as tell them apart, not 17. */
  readonly shortNumbers?: boolean;
  /** Between elements in one line. */
  readonly comma?: string;
}

/** The depth of arrays and objects in what is written. */
const MAXIMUM_DEPTH = 500;
const ONE_LINE: Layout = { indentation: undefined, lineBreak: "", colon: ": ", empty: " ", comma: ", " };

/** The text that a value adds to a string: strings as they are, all else as JSON in one line. */
export function textOf(value: Value): string {
  return typeof value === "string" ? value : manifest(value, ONE_LINE);
}

/**
 * A value as JSON text. Throws {@link JsonnetError} for functions, where a value in it is an error, and if it is nested
 * too deeply, as an object is that contains itself.
 */
export function manifest(value: Value, layout: Layout, indentation = "", depth = 0): string {
  if (value === null || typeof value === "boolean") {
    return String(value);
  }
  if (typeof value === "number") {
    return layout.shortNumbers ? shortNumberText(value) : numberText(value);
  }
  if (typeof value === "string") {
    return quote(value);
  }
  if (depth > MAXIMUM_DEPTH) {
    throw new JsonnetError(
      `arrays and objects are nested more than ${MAXIMUM_DEPTH} deep; is there an infinite recursion?`,
    );
  }
  const deeper = indentation + (layout.indentation ?? "");
  if (Array.isArray(value)) {
    const elements = (value as JsonnetArray).map((element) =>
      manifest(element.force(), layout, deeper, depth + 1),
    );
    return enclose("[", elements, "]", layout, indentation);
  }
  if (value instanceof JsonnetObject) {
    value.checkAsserts();
    const fields = value
      .fieldNames()
      .map((name) => quote(name) + layout.colon + manifest(value.get(name), layout, deeper, depth + 1));
    return enclose("{", fields, "}", layout, indentation);
  }
  throw new JsonnetError(`a ${typeOf(value)} cannot be written as JSON`);
}

function enclose(
  open: string,
  items: readonly string[],
  close: string,
  layout: Layout,
  indentation: string,
): string {
  if (items.length === 0) {
    return open + (layout.empty ?? layout.lineBreak + layout.lineBreak + indentation) + close;
  }
  if (layout.indentation === undefined) {
    return open + items.join(layout.comma ?? ",") + close;
  }
  const before = layout.lineBreak + indentation + layout.indentation;
  return open + before + items.join(`,${before}`) + layout.lineBreak + indentation + close;
}

/** The string as JSON has it, with all control characters escaped. */
export function quote(text: string): string {
  return JSON.stringify(text).replaceAll(
    /[\u007f-\u009f]/g,
    (character) => `\\u00${character.charCodeAt(0).toString(16)}`,
  );
}

const SIGNIFICANT_DIGITS = 17;

/** Whole numbers with all their digits, others with 17 significant ones, as C's %.17g. */
export function numberText(value: number): string {
  if (Number.isInteger(value)) {
    return Object.is(value, -0) ? "-0" : BigInt(value).toString();
  }
  const exponent = Number(value.toExponential(SIGNIFICANT_DIGITS - 1).split("e")[1]);
  if (exponent < -4 || exponent >= SIGNIFICANT_DIGITS) {
    const [mantissa, power] = value.toExponential(SIGNIFICANT_DIGITS - 1).split("e");
    return `${withoutZeros(mantissa!)}e${power![0]}${power!.slice(1).padStart(2, "0")}`;
  }
  return withoutZeros(value.toFixed(SIGNIFICANT_DIGITS - 1 - exponent));
}

/** As few digits as tell the number from others, without an exponent. */
export function shortNumberText(value: number): string {
  const text = Number.isInteger(value) ? numberText(value) : String(value);
  const [mantissa, exponent] = text.split("e-");
  if (exponent === undefined) {
    return text;
  }
  const digits = mantissa!.replace(/[-.]/g, "");
  return `${value < 0 ? "-" : ""}0.${"0".repeat(Number(exponent) - 1)}${digits}`;
}

function withoutZeros(digits: string): string {
  return digits.includes(".") ? digits.replace(/\.?0+$/, "") : digits;
}
