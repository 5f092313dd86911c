import { JsonnetError } from "../error.ts";
import { type Layout, manifest, numberText, quote, textOf } from "../manifest.ts";
import { expectType, JsonnetObject, type Thunk, typeOf, type Value } from "../values.ts";
import { asObject, asString, type Library, strict } from "./builtin.ts";
import { toml } from "./toml.ts";
import { yaml } from "./yaml.ts";

function json(value: Value, indentation: Value, lineBreak: Value = "\n", colon: Value = ": "): string {
  const layout: Layout = {
    indentation: asString(indentation),
    lineBreak: asString(lineBreak),
    colon: asString(colon),
    empty: undefined,
    shortNumbers: true,
  };
  return manifest(value, layout);
}

function python(value: Value): string {
  if (value === null || typeof value === "boolean") {
    return value === null ? "None" : value ? "True" : "False";
  }
  if (Array.isArray(value)) {
    return `[${value.map((element: Thunk) => python(element.force())).join(", ")}]`;
  }
  if (value instanceof JsonnetObject) {
    return `{${value
      .fieldNames()
      .map((name) => `${quote(name)}: ${python(value.get(name))}`)
      .join(", ")}}`;
  }
  if (typeof value === "number") {
    return numberText(value);
  }
  return quote(expectType(value, "string", "a value"));
}

/** `{main, sections}` with the names and values of each, a line for each element of an array. */
function ini(value: Value): string {
  const body = (section: Value) =>
    asObject(section)
      .fieldNames()
      .flatMap((name) => {
        const field = asObject(section).get(name);
        const fields = Array.isArray(field) ? field.map((element: Thunk) => element.force()) : [field];
        return fields.map((one) => `${name} = ${textOf(one)}\n`);
      })
      .join("");
  const main = asObject(value).has("main") ? body(asObject(value).get("main")) : "";
  const sections = asObject(asObject(value).get("sections"));
  return (
    main +
    sections
      .fieldNames()
      .map((name) => `[${name}]\n${body(sections.get(name))}`)
      .join("")
  );
}

/** Of [name, {attribute: value}?, child…], or a text. */
function xml(value: Value): string {
  if (typeof value === "string") {
    return value;
  }
  const [name, ...rest] = expectType(value, "array", "an element of JsonML").map((part) => part.force());
  if (name === undefined) {
    throw new JsonnetError("an element of JsonML needs a name");
  }
  const attributes = rest[0] instanceof JsonnetObject ? rest[0] : undefined;
  const written = (attributes?.fieldNames() ?? [])
    .map((key) => ` ${key}="${textOf(attributes!.get(key))}"`)
    .join("");
  const children = attributes === undefined ? rest : rest.slice(1);
  return `<${asString(name)}${written}>${children.map(xml).join("")}</${asString(name)}>`;
}

function yamlStream(
  value: Value,
  indentArrays: Value = false,
  end: Value = true,
  quoteKeys: Value = true,
): string {
  if (!Array.isArray(value)) {
    throw new JsonnetError(`a stream of YAML is made of an array, not of ${typeOf(value)}`);
  }
  const documents = value.map((element: Thunk) => yaml(element.force(), indentArrays, quoteKeys));
  return `---\n${documents.join("\n---\n")}${end === true ? "\n...\n" : "\n"}`;
}

export const MANIFESTS: Library = {
  manifestJson: strict("value", (value: Value) => json(value, "    ")),
  manifestJsonMinified: strict("value", (value: Value) =>
    manifest(value, { indentation: undefined, lineBreak: "", colon: ":", empty: "", shortNumbers: true }),
  ),
  manifestJsonEx: strict("value, indent, newline?, key_val_sep?", json),
  manifestPython: strict("v", python),
  manifestPythonVars: strict("conf", (variables: Value) =>
    asObject(variables)
      .fieldNames()
      .map((name) => `${name} = ${python(asObject(variables).get(name))}\n`)
      .join(""),
  ),
  manifestIni: strict("ini", ini),
  manifestXmlJsonml: strict("value", xml),
  manifestYamlDoc: strict("value, indent_array_in_object?, quote_keys?", yaml),
  manifestYamlStream: strict("value, indent_array_in_object?, c_document_end?, quote_keys?", yamlStream),
  manifestToml: strict("value", (value: Value) => toml(asObject(value), "  ")),
  manifestTomlEx: strict("value, indent", (value: Value, indentation: Value) =>
    toml(asObject(value), asString(indentation)),
  ),
};
