import { readFileSync } from "node:fs";

/** One line of /proc/self/mountinfo (proc(5)). */
export interface MountTableEntry {
  readonly mountId: number;
  readonly parentId: number;
  /** The part of the file system that is mounted: "/", or a bind mount's folder. */
  readonly root: string;
  readonly mountPoint: string;
  /** This mount's options, such as "rw,relatime". */
  readonly options: string;
  /** Propagation, such as "shared:12" or "master:3"; none for a private mount. */
  readonly optionalFields: readonly string[];
  readonly fileSystemType: string;
  readonly source: string;
  /** The file system's options, such as "rw,vers=4.2,addr=127.0.0.1". */
  readonly superOptions: string;
}

/** This process's mounts, in the order in which they were made. Reading them involves no file system's server. */
export function readMountTable(): MountTableEntry[] {
  return parseMountTable(readFileSync("/proc/self/mountinfo"));
}

/**
 * Parses the text of a mountinfo file. Bytes that are not UTF-8 become U+FFFD.
 * Throws an Error for a malformed line.
 */
export function parseMountTable(bytes: Uint8Array): MountTableEntry[] {
  // In Latin-1 each escape is one character per byte, whatever the bytes encode.
  const lines = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1").split("\n");
  return lines.filter((line) => line !== "").map(parseLine);
}

function parseLine(line: string): MountTableEntry {
  const fields = line.split(" ");
  const separator = fields.indexOf("-", 6);
  const [mountId, parentId, , root, mountPoint, options] = fields;
  const [fileSystemType, source, superOptions] = separator === -1 ? [] : fields.slice(separator + 1);
  if (root === undefined || mountPoint === undefined || options === undefined || superOptions === undefined) {
    throw new Error(`not a line of mountinfo: ${JSON.stringify(line)}`);
  }
  return {
    mountId: Number(mountId),
    parentId: Number(parentId),
    root: decodeOctal(root),
    mountPoint: decodeOctal(mountPoint),
    options: decodeOctal(options),
    optionalFields: fields.slice(6, separator).map(decodeOctal),
    fileSystemType: decodeOctal(fileSystemType ?? ""),
    source: decodeOctal(source ?? ""),
    superOptions: decodeOctal(superOptions),
  };
}

/** The kernel writes space, tab, newline, backslash and "#" as three octal digits. */
function decodeOctal(field: string): string {
  const bytes = field.replace(/\\([0-3][0-7]{2})/g, (_, digits) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  return Buffer.from(bytes, "latin1").toString("utf8");
}

/** Whether anything is mounted at exactly this path, which must be absolute and without symlinks. */
export function isMounted(path: string, table: readonly MountTableEntry[] = readMountTable()): boolean {
  return table.some((entry) => entry.mountPoint === path);
}
