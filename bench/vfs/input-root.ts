import type { InputDirectory, InputSource } from "../../src/cas/input-source.ts";
import { computeDigest, type Digest, digestKey, SHA256 } from "../../src/reapi/digest.ts";

const FILES_PER_DIRECTORY = 40;
const DIRECTORIES_PER_DIRECTORY = 8;

/** An input root of about `fileCount` small files, with names as long as those of a Linux root file system. */
export function makeInputRoot(fileCount: number): {
  source: InputSource;
  digest: Digest;
  directories: number;
} {
  // Encoded, so that what the tree keeps can be told from what a CAS client's cache would keep.
  const encoded = new Map<string, Buffer>();
  let filesLeft = fileCount;

  const add = (directory: InputDirectory): Digest => {
    const bytes = Buffer.from(
      JSON.stringify(directory, (key, value) => (key === "function" ? undefined : value)),
    );
    const digest = computeDigest("", SHA256, bytes);
    encoded.set(digestKey(digest), bytes);
    return digest;
  };

  const make = (files: number, path: string): Digest => {
    const here = Math.min(files, FILES_PER_DIRECTORY);
    const below = files - here;
    const parts = Math.min(DIRECTORIES_PER_DIRECTORY, Math.ceil(below / FILES_PER_DIRECTORY));
    const directories = Array.from({ length: parts }, (_, i) => {
      const share = Math.floor((below * (i + 1)) / parts) - Math.floor((below * i) / parts);
      const name = `directory-${i}`;
      return { name, digest: make(share, `${path}/${name}`) };
    });
    const fileNodes = Array.from({ length: here }, (_, i) => {
      const name = `some-file-name-${i}.h`;
      filesLeft--;
      return {
        name,
        digest: computeDigest("", SHA256, Buffer.from(`${path}/${name} ${filesLeft}`)),
        isExecutable: i % 10 === 0,
      };
    });
    return add({ files: fileNodes, directories, symlinks: [{ name: "link", target: "some-file-name-0.h" }] });
  };

  const digest = make(fileCount, "");
  const source: InputSource = {
    directory: (wanted) =>
      JSON.parse(encoded.get(digestKey(wanted))!.toString(), (key, value) =>
        key === "digest" ? { ...value, function: SHA256 } : value,
      ) as InputDirectory,
    read: (_, __, count) => Buffer.alloc(count),
  };
  return { source, digest, directories: encoded.size };
}
