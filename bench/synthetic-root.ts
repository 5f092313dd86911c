import type { InputRootEntry } from "../src/cluster/storage/import-input-root.ts";

/**
 * An input root of so many small files, 100 in a directory and 100 directories in one above, as `find` sees a large
 * root file system. Each file has content of its own, about 1 KiB.
 */
export function* syntheticRoot(files: number): Generator<InputRootEntry> {
  for (let index = 0; index < files; index++) {
    const directory = Math.floor(index / 100);
    yield {
      path: `tree/${Math.floor(directory / 100)}/${directory % 100}/file-${index % 100}.txt`,
      type: "file",
      isExecutable: false,
      content: Buffer.from(`file ${index} of ${files}\n`.repeat(48)),
    };
  }
}
