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

/**
 * A symlink's target as Buildbarn spells it: without empty components and ".", without ".." directly below "/", and
 * with "/" at its end if only a directory can be meant. Other ".." stay, as what is before them may be a symlink.
 */
export function normalTarget(target: string): string {
  const isAbsolute = target.startsWith("/");
  const parts = target.split("/");
  const components: string[] = [];
  for (const part of parts) {
    if (part !== "" && part !== "." && !(part === ".." && isAbsolute && components.length === 0)) {
      components.push(part);
    }
  }
  if (components.length === 0) {
    return isAbsolute ? "/" : ".";
  }
  const isDirectory = ["", "."].includes(parts.at(-1)!) && components.at(-1) !== "..";
  return `${isAbsolute ? "/" : ""}${components.join("/")}${isDirectory ? "/" : ""}`;
}
