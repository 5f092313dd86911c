import { quote, shortNumberText, textOf } from "../manifest.ts";
import { type JsonnetArray, JsonnetObject, type Value } from "../values.ts";

/** A value as a YAML document. Strings are quoted as in JSON; those that end with a line break are blocks. */
export function yaml(value: Value, indentArrays: Value = false, quoteKeys: Value = true): string {
  const key = (name: string) => (quoteKeys === false && isBare(name) ? name : quote(name));
  const write = (item: Value, indentation: string): string => {
    if (typeof item === "string") {
      return text(item, indentation);
    }
    if (Array.isArray(item)) {
      return sequence(item, indentation);
    }
    if (item instanceof JsonnetObject) {
      return mapping(item, indentation);
    }
    return typeof item === "number" ? shortNumberText(item) : textOf(item);
  };
  const sequence = (items: JsonnetArray, indentation: string): string => {
    const lines = items.map((element) => {
      const item = element.force();
      const nested = Array.isArray(item) && item.length > 0;
      const deeper = `${indentation}  `;
      return nested
        ? `-\n${deeper}${write(item, deeper)}`
        : `- ${write(item, item instanceof JsonnetObject ? deeper : typeof item === "string" ? indentation : deeper)}`;
    });
    return lines.length === 0 ? "[]" : lines.join(`\n${indentation}`);
  };
  const mapping = (fields: JsonnetObject, indentation: string): string => {
    fields.checkAsserts();
    const lines = fields.fieldNames().map((name) => {
      const field = fields.get(name);
      if (Array.isArray(field) && field.length > 0) {
        const deeper = indentArrays === true ? `${indentation}  ` : indentation;
        return `${key(name)}:\n${deeper}${write(field, deeper)}`;
      }
      if (field instanceof JsonnetObject && field.fieldNames().length > 0) {
        return `${key(name)}:\n${indentation}  ${write(field, `${indentation}  `)}`;
      }
      return `${key(name)}: ${write(field, indentation)}`;
    });
    return lines.length === 0 ? "{}" : lines.join(`\n${indentation}`);
  };
  return write(value, "");
}

function text(value: string, indentation: string): string {
  if (!value.endsWith("\n")) {
    return quote(value);
  }
  const lines = value.slice(0, -1).split("\n");
  return ["|", ...lines].join(`\n${indentation}  `);
}

/** What YAML takes for something else than a string must be quoted. */
const RESERVED =
  /^(?:true|false|yes|no|on|off|null|~|y|n|-{1,3}|[-+]?(?:\.inf)|\.?nan|-?[0-9_]+(?:\.[0-9_]*)?(?:e[-+]?[0-9_]+)?|-?\.[0-9_]+(?:e[-+]?[0-9_]+)?|0x[0-9a-f_]+|0b[01_]+|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}|[0-9_]+(?::[0-9_]+)+)$/i;

function isBare(name: string): boolean {
  return /^[A-Za-z0-9_./-]+$/.test(name) && (/^_+$/.test(name) || !RESERVED.test(name));
}
