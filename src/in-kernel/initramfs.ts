import { readFileSync } from "node:fs";
import { basename, join } from "node:path";

/** What cpio(5) calls the new ASCII format. */
const MAGIC = "070701";
const REGULAR_FILE = 0o100000;
const LAST_NAME = "TRAILER!!!";

/**
 * The first root file system of a kernel, as it wants it: the program as `/init`, the modules, and in `/modules` their
 * names, one a line.
 */
export function initramfs(program: string, modules: readonly string[]): Buffer {
  const names = modules.map((path) => basename(path));
  return Buffer.concat([
    entry("init", REGULAR_FILE | 0o755, readFileSync(program)),
    ...modules.map((path, index) => entry(names[index]!, REGULAR_FILE | 0o644, readFileSync(path))),
    entry("modules", REGULAR_FILE | 0o644, Buffer.from(names.map((name) => `${name}\n`).join(""))),
    entry(LAST_NAME, 0, Buffer.alloc(0)),
  ]);
}

function entry(name: string, mode: number, content: Buffer): Buffer {
  const fields = {
    inode: 0,
    mode,
    userId: 0,
    groupId: 0,
    links: 1,
    modified: 0,
    size: content.length,
    deviceMajor: 0,
    deviceMinor: 0,
    specialMajor: 0,
    specialMinor: 0,
    nameLength: name.length + 1,
    checksum: 0,
  };
  const header = Object.values(fields).map((field) => field.toString(16).padStart(8, "0"));
  return Buffer.concat([padded(Buffer.from(`${MAGIC}${header.join("")}${name}\0`)), padded(content)]);
}

function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
}

/** The paths of modules and of all that they need, in the order in which to load them; without what is built in. */
export function modulesWithDependencies(folder: string, wanted: readonly string[]): string[] {
  const lines = readFileSync(join(folder, "modules.dep"), "utf8").split("\n");
  const found = new Set<string>();
  for (const name of wanted) {
    const line = lines.find((line) => moduleName(line.split(":", 1)[0]!) === name);
    // modules.dep names what a module needs from the nearest to the farthest.
    const [module, ...needs] = line?.split(/:? /) ?? [];
    for (const path of [...needs.reverse(), ...(module === undefined ? [] : [module])]) {
      found.add(join(folder, path.replace(/:$/, "")));
    }
  }
  return [...found];
}

/** As the kernel lists it: of "kernel/fs/fuse/virtiofs.ko.xz" it is "virtiofs". */
function moduleName(path: string): string {
  return basename(path)
    .replace(/\.ko(\.\w+)?$/, "")
    .replaceAll("-", "_");
}
