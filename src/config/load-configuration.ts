import { readFileSync } from "node:fs";
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonValue,
  type MessageShape,
} from "@bufbuild/protobuf";
import { ConfigurationError } from "./error.ts";
import { evaluateJsonnet } from "./jsonnet.ts";

/**
 * Reads a configuration file as Buildbarn's programs do: as Jsonnet, with every environment variable as an external
 * variable, that evaluates to the message's proto3 JSON form. A file that is plain JSON needs no Jsonnet library. The
 * path "-" is standard input, whose imports are relative to the working directory.
 *
 * Throws {@link ConfigurationError} if the file cannot be read or evaluated, and for a field that does not exist or has
 * a value of the wrong kind; the message then has the field's path.
 */
export function loadConfiguration<Desc extends DescMessage>(
  path: string,
  schema: Desc,
  environment: NodeJS.ProcessEnv = process.env,
): MessageShape<Desc> {
  const json = evaluateFile(path, environment);
  try {
    return fromJson(schema, json);
  } catch (error) {
    const fault = locateFault(schema, json, "");
    throw new ConfigurationError(`${path}: ${fault ?? (error as Error).message}`, { cause: error });
  }
}

const STANDARD_INPUT = 0;

function evaluateFile(path: string, environment: NodeJS.ProcessEnv): JsonValue {
  let text: string;
  try {
    text = readFileSync(path === "-" ? STANDARD_INPUT : path, "utf8");
  } catch (error) {
    throw new ConfigurationError(`cannot read the configuration: ${(error as Error).message}`, {
      cause: error,
    });
  }
  return parseJson(text) ?? (JSON.parse(evaluateJsonnet(path, text, variablesOf(environment))) as JsonValue);
}

function parseJson(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    return undefined;
  }
}

function variablesOf(environment: NodeJS.ProcessEnv): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(environment)) {
    if (value !== undefined) {
      variables[name] = value;
    }
  }
  return variables;
}

/**
 * Says what is wrong with `json` as a message, beginning with the path of the field at fault; undefined if nothing is.
 * The JSON reader's own error has the field's name, but not its path.
 */
function locateFault(schema: DescMessage, json: JsonValue, path: string): string | undefined {
  const reason = reasonOf(schema, json);
  if (reason === undefined) {
    return undefined;
  }
  if (
    schema.typeName.startsWith("google.protobuf.") ||
    json === null ||
    typeof json !== "object" ||
    Array.isArray(json)
  ) {
    return `${path === "" ? "the configuration" : path}: ${reason}`;
  }
  for (const [key, value] of Object.entries(json)) {
    const here = path === "" ? key : `${path}.${key}`;
    const field = schema.fields.find((candidate) => candidate.jsonName === key || candidate.name === key);
    if (field === undefined) {
      return (
        `${here}: there is no such field. ` +
        `${schema.typeName} has ${schema.fields.map((known) => known.jsonName).join(", ") || "no fields"}`
      );
    }
    const fault = locateFieldFault(schema, field, key, value, here);
    if (fault !== undefined) {
      return fault;
    }
  }
  return `${path === "" ? "the configuration" : path}: ${reason}`;
}

function locateFieldFault(
  schema: DescMessage,
  field: DescField,
  key: string,
  value: JsonValue,
  here: string,
): string | undefined {
  const element = field.message;
  if (element !== undefined && field.fieldKind === "message") {
    return value === null ? undefined : locateFault(element, value, here);
  }
  if (element !== undefined && field.fieldKind === "list" && Array.isArray(value)) {
    return firstFault(
      value.map((item, index) => [`${here}[${index}]`, item] as const),
      element,
    );
  }
  if (element !== undefined && field.fieldKind === "map" && isObject(value)) {
    return firstFault(
      Object.entries(value).map(([name, item]) => [`${here}[${JSON.stringify(name)}]`, item] as const),
      element,
    );
  }
  const reason = reasonOf(schema, { [key]: value });
  return reason === undefined ? undefined : `${here}: ${reason}`;
}

function firstFault(items: (readonly [string, JsonValue])[], element: DescMessage): string | undefined {
  for (const [path, item] of items) {
    const fault = locateFault(element, item, path);
    if (fault !== undefined) {
      return fault;
    }
  }
  return undefined;
}

function isObject(value: JsonValue): value is { [key: string]: JsonValue } {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

function reasonOf(schema: DescMessage, json: JsonValue): string | undefined {
  try {
    fromJson(schema, json);
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}
