import { JsonnetError } from "../error.ts";
import { textOf } from "../manifest.ts";
import { charactersOf, expectType, JsonnetObject, Thunk, typeOf, type Value } from "../values.ts";

const CODE = /%(?:\(([^)]*)\))?([#0\- +]*)(\*|\d*)(?:\.(\*|\d*))?[hlL]*([\s\S]?)/g;

interface Style {
  readonly alternative: boolean;
  readonly zeros: boolean;
  readonly left: boolean;
  /** What stands before a number that is not negative. */
  readonly sign: string;
  readonly width: number;
  readonly precision: number | undefined;
}

/** `text % values`, with C's codes; `%(name)s` takes a field of an object. Throws {@link JsonnetError}. */
export function format(text: string, values: Value): string {
  const source = new Source(values);
  const result = text.replaceAll(
    CODE,
    (
      _whole,
      key: string | undefined,
      flags: string,
      width: string,
      precision: string | undefined,
      code: string,
    ) => {
      const style: Style = {
        alternative: flags.includes("#"),
        zeros: flags.includes("0"),
        left: flags.includes("-"),
        sign: flags.includes("+") ? "+" : flags.includes(" ") ? " " : "",
        width: width === "*" ? source.number() : Number(width),
        precision:
          precision === undefined ? undefined : precision === "*" ? source.number() : Number(precision),
      };
      if (code === "") {
        throw new JsonnetError(`the format ends within a code: ${JSON.stringify(text)}`);
      }
      const written = code === "%" ? "%" : write(code, source.take(key), style);
      const missing = " ".repeat(Math.max(0, style.width - charactersOf(written).length));
      return style.left ? written + missing : missing + written;
    },
  );
  source.checkEnd();
  return result;
}

/** The values that a format takes, one after the other or by name. */
class Source {
  readonly #object: JsonnetObject | undefined;
  readonly #values: readonly Thunk[];
  #next = 0;

  constructor(values: Value) {
    this.#object = values instanceof JsonnetObject ? values : undefined;
    this.#values = Array.isArray(values) ? values : [Thunk.of(values)];
  }

  take(key: string | undefined): Value {
    if (key !== undefined && this.#object !== undefined) {
      return this.#object.get(key);
    }
    const value = this.#values[this.#next++];
    if (value === undefined || this.#object !== undefined) {
      throw new JsonnetError("not enough values for the format");
    }
    return value.force();
  }

  number(): number {
    return expectType(this.take(undefined), "number", "a width or a precision");
  }

  checkEnd(): void {
    if (this.#object === undefined && this.#next < this.#values.length) {
      throw new JsonnetError(
        `too many values for the format: it takes ${this.#next}, and is given ${this.#values.length}`,
      );
    }
  }
}

function write(code: string, value: Value, style: Style): string {
  switch (code) {
    case "s":
      return textOf(value);
    case "c":
      return character(value);
    case "d":
    case "i":
    case "u":
      return integer(value, code, 10, "", style);
    case "o":
      return integer(value, code, 8, style.alternative && value !== 0 ? "0" : "", style);
    case "x":
    case "X": {
      const text = integer(value, code, 16, style.alternative ? "0x" : "", style);
      return code === "X" ? text.toUpperCase() : text;
    }
    case "e":
    case "E":
    case "f":
    case "F":
    case "g":
    case "G": {
      const text = real(code.toLowerCase(), expectType(value, "number", `a value for %${code}`), style);
      return /[EFG]/.test(code) ? text.toUpperCase() : text;
    }
    default:
      throw new JsonnetError(`a format has no code %${code}`);
  }
}

function character(value: Value): string {
  if (typeof value === "number") {
    return String.fromCodePoint(value);
  }
  if (typeof value === "string" && charactersOf(value).length === 1) {
    return value;
  }
  throw new JsonnetError(`%c needs a number, or a string of one character, not a ${typeOf(value)}`);
}

function integer(value: Value, code: string, radix: number, prefix: string, style: Style): string {
  const number = Math.trunc(expectType(value, "number", `a value for %${code}`));
  const digits = BigInt(Math.abs(number))
    .toString(radix)
    .padStart(style.precision ?? 0, "0");
  return withSign(number < 0, prefix, digits, style);
}

function withSign(negative: boolean, prefix: string, digits: string, style: Style): string {
  const before = (negative ? "-" : style.sign) + prefix;
  return before + (style.zeros && !style.left ? digits.padStart(style.width - before.length, "0") : digits);
}

const DEFAULT_PRECISION = 6;

function real(code: string, value: number, style: Style): string {
  const precision = style.precision ?? DEFAULT_PRECISION;
  const absolute = Math.abs(value);
  let digits: string;
  if (code === "f") {
    digits = fixed(absolute, precision);
  } else if (code === "e") {
    digits = scientific(absolute, precision);
  } else {
    // As go-jsonnet computes it, though C would have it a little otherwise.
    const exponent = absolute === 0 ? 0 : Math.floor(Math.log(absolute) / Math.log(10));
    digits =
      exponent < -4 || exponent >= precision
        ? withoutZeros(scientific(absolute, precision - 1), style)
        : withoutZeros(fixed(absolute, precision - Math.max(1, exponent + 1)), style);
  }
  if (style.alternative && precision === 0 && !digits.includes(".")) {
    digits = digits.replace(/^\d+/, "$&.");
  }
  return withSign(value < 0 || Object.is(value, -0), "", digits, style);
}

const MAXIMUM_DECIMALS = 100;

function fixed(value: number, decimals: number): string {
  const bounded = Math.min(decimals, MAXIMUM_DECIMALS);
  const text =
    value < 1e21 ? value.toFixed(bounded) : `${BigInt(value)}.${"0".repeat(bounded)}`.replace(/\.$/, "");
  return text + "0".repeat(decimals - bounded);
}

function scientific(value: number, decimals: number): string {
  const [mantissa, exponent] = value.toExponential(Math.min(decimals, MAXIMUM_DECIMALS)).split("e");
  return `${mantissa}e${exponent![0]}${exponent!.slice(1).padStart(2, "0")}`;
}

function withoutZeros(text: string, style: Style): string {
  return style.alternative || !text.includes(".") ? text : text.replace(/\.?0+(e|$)/, "$1");
}
