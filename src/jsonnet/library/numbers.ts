import { JsonnetError } from "../error.ts";
import { checked, expectType, type JsonnetFunction, type Value } from "../values.ts";
import { type Library, strict } from "./builtin.ts";

function ofOne(compute: (x: number) => number, name = "x"): JsonnetFunction {
  return strict(name, (x: Value) => checked(compute(expectType(x, "number"))));
}

function ofTwo(names: string, compute: (left: number, right: number) => number): JsonnetFunction {
  return strict(names, (left: Value, right: Value) =>
    checked(compute(expectType(left, "number"), expectType(right, "number"))),
  );
}

function asks(answer: (x: number) => boolean): JsonnetFunction {
  return strict("x", (x: Value) => answer(expectType(x, "number")));
}

/** `value` = mantissa · 2^exponent, the mantissa being from 0.5 up to 1. */
function split(value: number): { readonly mantissa: number; readonly exponent: number } {
  if (value === 0) {
    return { mantissa: 0, exponent: 0 };
  }
  let exponent = Math.max(-1023, Math.floor(Math.log2(Math.abs(value))) + 1);
  let mantissa = value * 2 ** -exponent;
  while (Math.abs(mantissa) < 0.5) {
    mantissa *= 2;
    exponent--;
  }
  while (Math.abs(mantissa) >= 1) {
    mantissa /= 2;
    exponent++;
  }
  return { mantissa, exponent };
}

function modulo(left: number, right: number): number {
  if (right === 0) {
    throw new JsonnetError("division by zero");
  }
  return left % right;
}

export const NUMBERS: Library = {
  pi: Math.PI,
  abs: ofOne(Math.abs, "n"),
  sign: ofOne(Math.sign, "n"),
  floor: ofOne(Math.floor),
  ceil: ofOne(Math.ceil),
  round: ofOne((x) => Math.sign(x) * Math.round(Math.abs(x))),
  sqrt: ofOne(Math.sqrt),
  sin: ofOne(Math.sin),
  cos: ofOne(Math.cos),
  tan: ofOne(Math.tan),
  asin: ofOne(Math.asin),
  acos: ofOne(Math.acos),
  atan: ofOne(Math.atan),
  atan2: ofTwo("y, x", Math.atan2),
  hypot: ofTwo("x, y", Math.hypot),
  log: ofOne(Math.log),
  log2: ofOne(Math.log2),
  log10: ofOne(Math.log10),
  exp: ofOne(Math.exp),
  pow: ofTwo("x, n", (x, n) => x ** n),
  deg2rad: ofOne((x) => (x * Math.PI) / 180),
  rad2deg: ofOne((x) => (x * 180) / Math.PI),
  mantissa: ofOne((x) => split(x).mantissa),
  exponent: ofOne((x) => split(x).exponent),
  modulo: ofTwo("x, y", modulo),
  min: ofTwo("a, b", Math.min),
  max: ofTwo("a, b", Math.max),
  clamp: strict("x, minVal, maxVal", (x: Value, low: Value, high: Value) => {
    const [value, least, most] = [x, low, high].map((bound) => expectType(bound, "number"));
    return Math.min(most!, Math.max(least!, value!));
  }),
  isEven: asks((x) => Math.trunc(x) % 2 === 0),
  isOdd: asks((x) => Math.trunc(x) % 2 !== 0),
  isInteger: asks(Number.isInteger),
  isDecimal: asks((x) => !Number.isInteger(x)),
  xor: strict("x, y", (x: Value, y: Value) => expectType(x, "boolean") !== expectType(y, "boolean")),
  xnor: strict("x, y", (x: Value, y: Value) => expectType(x, "boolean") === expectType(y, "boolean")),
};
