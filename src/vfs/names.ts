import type { Name } from "../nfs/file-system.ts";

/** The byte-string name of a text, in UTF-8. */
export function toName(text: string): Name {
  return Buffer.from(text, "utf8").toString("latin1");
}

/** The text of a byte-string name, or undefined if the bytes are not UTF-8. */
export function toText(name: Name): string | undefined {
  const bytes = Buffer.from(name, "latin1");
  const text = bytes.toString("utf8");
  return Buffer.from(text, "utf8").equals(bytes) ? text : undefined;
}
