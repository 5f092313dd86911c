import { readdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import path from "node:path";
import type { InputRootEntry } from "../../src/cluster/storage/import-input-root.ts";

/** The source of which there is a changed version. */
export const CHANGED_SOURCE = "lua.c";

/** Lua's sources (the npm package lua-src), in this folder of an input root; one of them changed if so desired. */
export async function luaSources(folder: string, changed: boolean): Promise<InputRootEntry[]> {
  const sources = path.join(
    path.dirname(createRequire(import.meta.url).resolve("lua-src/package.json")),
    "src",
  );
  const original = await readFile(path.join(sources, CHANGED_SOURCE), "utf8");
  const content = Buffer.from(
    original.replace('#define LUA_PROMPT\t\t"> "', '#define LUA_PROMPT\t\t"lua> "'),
  );
  return (await readdir(sources)).map((name): InputRootEntry => {
    const entry = { path: path.join(folder, name), type: "file", isExecutable: false } as const;
    return changed && name === CHANGED_SOURCE
      ? { ...entry, content }
      : { ...entry, hostPath: path.join(sources, name) };
  });
}
