import type { Metafile } from "esbuild";

/** What is in bundles without being an npm package's: the program's own code. */
export const OWN_CODE = "";

/**
 * The npm packages that bundles have code of, by their folders ("node_modules/long"), each with those that its code in the
 * bundles imports. What the program itself imports is at {@link OWN_CODE}.
 */
export function bundledPackages(metafiles: readonly Metafile[]): Map<string, Set<string>> {
  const packages = new Map([[OWN_CODE, new Set<string>()]]);
  for (const { outputs } of metafiles) {
    for (const [file, { bytesInOutput }] of Object.values(outputs).flatMap(({ inputs }) =>
      Object.entries(inputs),
    )) {
      if (bytesInOutput > 0 && !packages.has(folderOf(file))) {
        packages.set(folderOf(file), new Set());
      }
    }
  }
  for (const { inputs } of metafiles) {
    for (const [file, { imports }] of Object.entries(inputs)) {
      const folder = folderOf(file);
      for (const imported of imports.map(({ path }) => folderOf(path))) {
        if (imported !== folder && imported !== OWN_CODE && packages.has(imported)) {
          packages.get(folder)?.add(imported);
        }
      }
    }
  }
  return packages;
}

/** The folder of the package whose file this is. */
function folderOf(file: string): string {
  return /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0] ?? OWN_CODE;
}
