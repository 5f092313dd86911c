import { readFileSync } from "node:fs";
import { isAbsolute } from "node:path";
import { ConfigurationError } from "./error.ts";
import { each, type FieldPath } from "./field-path.ts";

/** A value above 0. 0, which in proto3 is the same as leaving the field out, stands for `fallback` if there is one. */
export function positive(value: bigint, path: FieldPath, fallback?: number): number {
  if (value === 0n && fallback !== undefined) {
    return fallback;
  }
  if (value <= 0n) {
    throw new ConfigurationError(`${path} is ${value}: give a number above 0`);
  }
  return Number(value);
}

export function atLeastZero(value: bigint, path: FieldPath): number {
  if (value < 0n) {
    throw new ConfigurationError(`${path} is ${value}: give 0 or more`);
  }
  return Number(value);
}

/** A value above 0, or undefined for 0. */
export function optional(value: bigint | number, path: FieldPath): number | undefined {
  if (value < 0) {
    throw new ConfigurationError(`${path} is ${value}: give a number above 0, or leave it out`);
  }
  return Number(value) || undefined;
}

export function nonEmpty<T>(list: readonly T[], path: FieldPath): readonly T[] {
  if (list.length === 0) {
    throw new ConfigurationError(`${path} is empty: give at least one`);
  }
  return list;
}

export function absolutePaths(paths: readonly string[], field: FieldPath): readonly string[] {
  return each(paths, (path, index) => absolutePath(path, field.index(index)));
}

export function absolutePath(path: string, field: FieldPath): string {
  if (!isAbsolute(path) || path.includes("\0")) {
    throw new ConfigurationError(`${field} is ${JSON.stringify(path)}: give an absolute path`);
  }
  return path;
}

/** A path that may be relative. */
export function pathOf(path: string, field: FieldPath): string {
  if (path === "" || path.includes("\0")) {
    throw new ConfigurationError(`${field} is ${JSON.stringify(path)}: give a path`);
  }
  return path;
}

/** A file that can be read, which is tried, so that a mistake shows at the start. */
export function readable(file: string, path: FieldPath): string {
  try {
    readFileSync(file);
    return file;
  } catch (error) {
    throw new ConfigurationError(`${path}: ${(error as Error).message}`, { cause: error });
  }
}
