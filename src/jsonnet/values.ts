import { JsonnetError } from "./error.ts";
import type { Visibility } from "./syntax.ts";

export type Value = null | boolean | number | string | JsonnetArray | JsonnetObject | JsonnetFunction;

/** Elements are evaluated when something needs them. */
export type JsonnetArray = readonly Thunk[];

/** A value that is computed at most once, when it is first needed. */
export class Thunk {
  #compute: (() => Value) | undefined;
  #value: Value | undefined;
  #running = false;

  constructor(compute: () => Value) {
    this.#compute = compute;
  }

  static of(value: Value): Thunk {
    const thunk = new Thunk(() => value);
    thunk.#compute = undefined;
    thunk.#value = value;
    return thunk;
  }

  /** Throws {@link JsonnetError} if the value is an error, or needs itself. */
  force(): Value {
    if (this.#compute !== undefined) {
      if (this.#running) {
        throw new JsonnetError("this value needs itself: infinite recursion");
      }
      this.#running = true;
      try {
        this.#value = this.#compute();
        this.#compute = undefined;
      } finally {
        this.#running = false;
      }
    }
    return this.#value!;
  }
}

export interface ParameterShape {
  readonly name: string;
  readonly required: boolean;
}

/** What is given to a function: by place, and by name. */
export interface Arguments {
  readonly positional: readonly Thunk[];
  readonly named?: ReadonlyMap<string, Thunk>;
}

export class JsonnetFunction {
  readonly parameters: readonly ParameterShape[];
  readonly #body: (given: readonly (Thunk | undefined)[]) => Value;

  /** `body` gets an argument for each parameter; those that may be left out can be undefined. */
  constructor(parameters: readonly ParameterShape[], body: (given: readonly (Thunk | undefined)[]) => Value) {
    this.parameters = parameters;
    this.#body = body;
  }

  call(given: Arguments): Value {
    return this.#body(this.place(given));
  }

  /** An argument for each parameter. Throws {@link JsonnetError} if the arguments do not fit the parameters. */
  place({ positional, named }: Arguments): (Thunk | undefined)[] {
    if (positional.length > this.parameters.length) {
      throw new JsonnetError(
        `the function takes ${this.parameters.length} arguments, and is given ${positional.length}`,
      );
    }
    const given: (Thunk | undefined)[] = this.parameters.map((_, index) => positional[index]);
    for (const [name, value] of named ?? []) {
      const index = this.parameters.findIndex((parameter) => parameter.name === name);
      if (index === -1) {
        throw new JsonnetError(`the function has no parameter ${name}`);
      }
      if (given[index] !== undefined) {
        throw new JsonnetError(`the argument ${name} is given twice`);
      }
      given[index] = value;
    }
    const missing = this.parameters.findIndex(
      ({ required }, index) => required && given[index] === undefined,
    );
    if (missing !== -1) {
      throw new JsonnetError(`missing argument: ${this.parameters[missing]!.name}`);
    }
    return given;
  }

  /** Calls the function with these arguments, by their places. */
  with(...positional: readonly Thunk[]): Value {
    return this.call({ positional });
  }
}

export interface Field {
  readonly visibility: Visibility;
  /** The field's value in `self`, of which `layer` is the place of the field's object; what is below is `super`. */
  value(self: JsonnetObject, layer: number): Value;
}

/** One object as it is written; an object that inherits has several, the last of which comes first. */
export interface Layer {
  readonly fields: ReadonlyMap<string, Field>;
  /** A field that does not show through from so many layers below. */
  readonly hides?: { readonly name: string; readonly layers: number };
  /** Throws {@link JsonnetError} if an assert of the object fails. */
  checkAsserts?(self: JsonnetObject, layer: number): void;
}

export class JsonnetObject {
  readonly #layers: readonly Layer[];
  readonly #values = new Map<string, Value>();
  readonly #running = new Set<string>();
  #asserted = false;

  constructor(layers: readonly Layer[]) {
    this.#layers = layers;
  }

  /** An object of these values. */
  static of(values: Iterable<readonly [string, () => Value]>, visibility: Visibility = ":"): JsonnetObject {
    const fields = new Map<string, Field>();
    for (const [name, value] of values) {
      fields.set(name, { visibility, value });
    }
    return new JsonnetObject([{ fields }]);
  }

  /** `this + other`: what `other` has replaces what is here. */
  extend(other: JsonnetObject): JsonnetObject {
    return new JsonnetObject([...this.#layers, ...other.#layers]);
  }

  /** The object without a field, which its own `super` still finds. */
  without(name: string): JsonnetObject {
    const hides = { name, layers: this.#layers.length };
    return new JsonnetObject([...this.#layers, { fields: new Map(), hides }]);
  }

  /** Fails if one of the object's asserts does; each is checked once. */
  checkAsserts(): void {
    if (this.#asserted) {
      return;
    }
    this.#asserted = true;
    for (const [index, layer] of this.#layers.entries()) {
      layer.checkAsserts?.(this, index);
    }
  }

  /** The value of a field. Throws {@link JsonnetError} if there is no such field. */
  get(name: string): Value {
    this.checkAsserts();
    return this.getBelow(this.#layers.length, name);
  }

  /** The value of the field as the layers below `limit` have it, for `super`. */
  getBelow(limit: number, name: string): Value {
    const index = this.#find(limit, name);
    if (index === -1) {
      throw new JsonnetError(`field does not exist: ${name}`);
    }
    const key = `${index} ${name}`;
    const known = this.#values.get(key);
    if (known !== undefined) {
      return known;
    }
    if (this.#running.has(key)) {
      throw new JsonnetError(`the field ${name} needs itself: infinite recursion`);
    }
    this.#running.add(key);
    try {
      const value = this.#layers[index]!.fields.get(name)!.value(this, index);
      this.#values.set(key, value);
      return value;
    } finally {
      this.#running.delete(key);
    }
  }

  has(name: string, withHidden = true): boolean {
    return this.hasBelow(this.#layers.length, name) && (withHidden || this.#isVisible(name));
  }

  hasBelow(limit: number, name: string): boolean {
    return this.#find(limit, name) !== -1;
  }

  /** The names of the fields, in the order of their code points. */
  fieldNames(withHidden = false): string[] {
    const names = new Set(this.#layers.flatMap(({ fields }) => [...fields.keys()]));
    return [...names].filter((name) => this.has(name, withHidden)).sort(compareStrings);
  }

  /** The last `::` or `:::` decides. */
  #isVisible(name: string): boolean {
    for (let index = this.#find(this.#layers.length, name); index !== -1; index = this.#find(index, name)) {
      const visibility = this.#layers[index]!.fields.get(name)?.visibility ?? ":";
      if (visibility !== ":") {
        return visibility === ":::";
      }
    }
    return true;
  }

  #find(limit: number, name: string): number {
    let index = limit - 1;
    while (index >= 0 && !this.#layers[index]!.fields.has(name)) {
      const { hides } = this.#layers[index]!;
      index -= hides?.name === name ? hides.layers + 1 : 1;
    }
    return index;
  }
}

export type TypeName = "null" | "boolean" | "number" | "string" | "array" | "object" | "function";

/** The name of a value's type, as std.type() gives it. */
export function typeOf(value: Value): TypeName {
  if (value === null) {
    return "null";
  }
  if (Array.isArray(value)) {
    return "array";
  }
  if (value instanceof JsonnetFunction) {
    return "function";
  }
  const type = typeof value;
  return type === "boolean" || type === "number" || type === "string" ? type : "object";
}

interface Types {
  null: null;
  boolean: boolean;
  number: number;
  string: string;
  array: JsonnetArray;
  object: JsonnetObject;
  function: JsonnetFunction;
}

/** The value, which must be of the type; `what` names it in the {@link JsonnetError}. */
export function expectType<Name extends TypeName>(value: Value, type: Name, what = "a value"): Types[Name] {
  const own = typeOf(value);
  if (own !== type) {
    throw new JsonnetError(`expected ${what} of the type ${type}, not ${own}`);
  }
  return value as Types[Name];
}

/** The number, which must be finite. */
export function checked(value: number): number {
  if (Number.isNaN(value)) {
    throw new JsonnetError("the result is not a number");
  }
  if (!Number.isFinite(value)) {
    throw new JsonnetError("overflow: the result is too large");
  }
  return value;
}

/** Orders strings by their code points, which is not the order of UTF-16. */
export function compareStrings(left: string, right: string): number {
  const length = Math.min(left.length, right.length);
  for (let index = 0; index < length; index++) {
    if (left.charCodeAt(index) !== right.charCodeAt(index)) {
      const back = index > 0 && isTrailing(left, index) && isTrailing(right, index) ? 1 : 0;
      return left.codePointAt(index - back)! - right.codePointAt(index - back)!;
    }
  }
  return left.length - right.length;
}

function isTrailing(text: string, index: number): boolean {
  return (text.charCodeAt(index) & 0xfc00) === 0xdc00 && (text.charCodeAt(index - 1) & 0xfc00) === 0xd800;
}

/** The characters of a string, which are code points. */
export function charactersOf(text: string): string[] {
  return [...text];
}
