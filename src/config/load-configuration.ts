import { readFileSync } from "node:fs";
import {
  type DescField,
  type DescMessage,
  fromJson,
  type JsonValue,
  type MessageShape,
} from "@bufbuild/protobuf";
import { JsonnetError } from "../jsonnet/error.ts";
import { evaluateJsonnet } from "../jsonnet/evaluate.ts";
import { ConfigurationError } from "./error.ts";

/**
 * Reads a configuration file as Buildbarn's programs do: as Jsonnet, with every environment variable as an external
 * variable, that evaluates to the message's proto3 JSON form. The path "-" is standard input,
 * whose imports are relative to the working directory.
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
    const faults = faultsOf(schema, json, "");
    const all = faults.length > 0 ? faults : [(error as Error).message];
    throw new ConfigurationError(
      all.map((fault) => `${path}: ${fault}`),
      { cause: error },
    );
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
  try {
    return JSON.parse(evaluateJsonnet(path, text, variablesOf(environment))) as JsonValue;
  } catch (error) {
    throw error instanceof JsonnetError ? new ConfigurationError(error.message, { cause: error }) : error;
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
 * Says what is wrong with `json` as a message: everything, each beginning with the path of the field at fault. The JSON
 * reader's own error has the field's name, but not its path, and is about the first one only.
 */
function faultsOf(schema: DescMessage, json: JsonValue, path: string): string[] {
  const reason = reasonOf(schema, json);
  if (reason === undefined) {
    return [];
  }
  const own = [`${path === "" ? "the configuration" : path}: ${reason}`];
  if (schema.typeName.startsWith("google.protobuf.") || !isObject(json)) {
    return own;
  }
  const faults = Object.entries(json).flatMap(([key, value]) => {
    const here = path === "" ? key : `${path}.${key}`;
    const field = schema.fields.find((candidate) => candidate.jsonName === key || candidate.name === key);
    if (field === undefined) {
      return [
        `${here}: there is no such field. ` +
          `${schema.typeName} has ${schema.fields.map((known) => known.jsonName).join(", ") || "no fields"}`,
      ];
    }
    return fieldFaults(schema, field, key, value, here);
  });
  return faults.length > 0 ? faults : own;
}

function fieldFaults(
  schema: DescMessage,
  field: DescField,
  key: string,
  value: JsonValue,
  here: string,
): string[] {
  const element = field.message;
  if (element !== undefined && field.fieldKind === "message") {
    return value === null ? [] : faultsOf(element, value, here);
  }
  if (element !== undefined && field.fieldKind === "list" && Array.isArray(value)) {
    return value.flatMap((item, index) => faultsOf(element, item, `${here}[${index}]`));
  }
  if (element !== undefined && field.fieldKind === "map" && isObject(value)) {
    return Object.entries(value).flatMap(([name, item]) =>
      faultsOf(element, item, `${here}[${JSON.stringify(name)}]`),
    );
  }
  const reason = reasonOf(schema, { [key]: value });
  return reason === undefined ? [] : [`${here}: ${reason}`];
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
