import { JsonnetError } from "../error.ts";
import { numberText, quote } from "../manifest.ts";
import { type JsonnetArray, JsonnetObject, type Thunk, typeOf, type Value } from "../values.ts";

/** An object as a TOML document, each table being indented by its depth. */
export function toml(table: JsonnetObject, indentation: string): string {
  return headed("", table, tableBody(table, [], "", indentation));
}

function tableBody(
  table: JsonnetObject,
  path: readonly string[],
  before: string,
  indentation: string,
): string {
  const names = table.fieldNames();
  const plain = names.filter((name) => !isSection(table.get(name)));
  const sections = names.filter((name) => isSection(table.get(name)));
  const lines = plain.map(
    (name) => `${before}${key(name)} = ${written(table.get(name), before, indentation, false)}`,
  );
  const blocks = sections.map((name) => section(table.get(name), [...path, name], before, indentation));
  return [...(lines.length > 0 ? [lines.join("\n")] : []), ...blocks].join("\n\n");
}

function isSection(value: Value): value is JsonnetObject | JsonnetArray {
  return (
    value instanceof JsonnetObject ||
    (Array.isArray(value) &&
      value.length > 0 &&
      value.every((element: Thunk) => element.force() instanceof JsonnetObject))
  );
}

function section(value: Value, path: readonly string[], before: string, indentation: string): string {
  const name = path.map(key).join(".");
  const body = (table: JsonnetObject) => tableBody(table, path, before + indentation, indentation);
  if (value instanceof JsonnetObject) {
    return headed(`${before}[${name}]`, value, body(value));
  }
  return (value as JsonnetArray)
    .map((element) => element.force() as JsonnetObject)
    .map((table) => headed(`${before}[[${name}]]`, table, body(table)))
    .join("\n\n");
}

function headed(heading: string, table: JsonnetObject, body: string): string {
  const onlySections =
    table.fieldNames().length > 0 && table.fieldNames().every((name) => isSection(table.get(name)));
  const lineBreaks = (heading === "" ? "" : "\n") + (onlySections ? "\n\n" : "");
  return body === "" ? heading : heading + lineBreaks + body;
}

function key(name: string): string {
  return /^[A-Za-z0-9_-]+$/.test(name) ? name : quote(name);
}

function written(value: Value, before: string, indentation: string, inLine: boolean): string {
  if (typeof value === "string") {
    return quote(value);
  }
  if (typeof value === "number") {
    return numberText(value);
  }
  if (typeof value === "boolean") {
    return String(value);
  }
  if (Array.isArray(value)) {
    const elements = value.map((element: Thunk) => written(element.force(), "", indentation, true));
    if (elements.length === 0) {
      return "[]";
    }
    const deeper = `\n${before}${indentation}`;
    return inLine ? `[ ${elements.join(", ")} ]` : `[${deeper}${elements.join(`,${deeper}`)}\n${before}]`;
  }
  if (value instanceof JsonnetObject) {
    const fields = value
      .fieldNames()
      .map((name) => `${key(name)} = ${written(value.get(name), "", indentation, true)}`);
    return `{ ${fields.join(", ")} }`;
  }
  throw new JsonnetError(`TOML has no way to write a ${typeOf(value)}`);
}
