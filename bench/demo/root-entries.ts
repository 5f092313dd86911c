import type { InputRootEntry } from "../../src/cluster/storage/import-input-root.ts";
import type { DebianRoot, RootEntry } from "./debian-root.ts";

/** As the CAS's importer takes them. */
export function rootEntries({ entries }: DebianRoot): InputRootEntry[] {
  return entries.map(inputRootEntry);
}

function inputRootEntry(entry: RootEntry): InputRootEntry {
  const place = entry.path.slice(1);
  switch (entry.kind) {
    case "file":
      return { path: place, type: "file", isExecutable: entry.isExecutable, hostPath: entry.path };
    case "symlink":
      return { path: place, type: "symlink", target: entry.target };
    case "directory":
      return { path: place, type: "directory" };
  }
}
