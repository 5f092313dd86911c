/**
 * `node change-inputs.ts FOLDER SEED ROUNDS`: changes the files `own-SEED-*` of the folder in every way there is, in an
 * order that the seed tells, and expects each to be what a local file would be. In between it looks at the files
 * `shared-*`, and changes their attributes, as others may do at the same time. A file `…-N` begins as "content N\n".
 */
import assert from "node:assert/strict";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  linkSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  truncateSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";

const [folder = "", seed = "", rounds = ""] = process.argv.slice(2);
/** Files that stay open for reading, so that the kernel keeps what it was given for them. */
const MAXIMUM_OPEN = 8;

const names = readdirSync(folder);
const shared = names.filter((name) => name.startsWith("shared-"));
/** The content that each of the own files must have. */
const own = new Map<string, string>();
for (const name of names) {
  if (name.startsWith(`own-${seed}-`)) {
    own.set(name, contentOf(name));
  }
}
const opened: number[] = [];
let randomState = Number(seed);

function contentOf(name: string): string {
  return `content ${name.split("-").at(-1)}\n`;
}

function random(below: number): number {
  randomState = (Math.imul(randomState, 1103515245) + 12345) & 0x7fff_ffff;
  return (randomState >> 8) % below;
}

function pick<T>(from: readonly T[]): T {
  return from[random(from.length)]!;
}

function move(name: string, newName: string): void {
  renameSync(join(folder, name), join(folder, newName));
  const content = own.get(name)!;
  own.delete(name);
  own.set(newName, content);
}

const changesOfAttributes = {
  chmod: (path: string) => chmodSync(path, 0o600 + random(64)),
  utimes: (path: string) => utimesSync(path, random(1e6), random(1e6)),
  link: (path: string, round: number) => {
    const other = join(folder, `linked-${seed}-${round}`);
    linkSync(path, other);
    assert.equal(readFileSync(other, "utf8"), readFileSync(path, "utf8"));
    unlinkSync(other);
  },
};

const changesOfContent = {
  truncate: (path: string, name: string) => {
    const content = own.get(name)!;
    const length = random(content.length + 1);
    truncateSync(path, length);
    own.set(name, content.slice(0, length));
  },
  append: (path: string, name: string) => {
    appendFileSync(path, "more\n");
    own.set(name, `${own.get(name)}more\n`);
  },
  write: (path: string, name: string, round: number) => {
    writeFileSync(path, `written in ${round}\n`);
    own.set(name, `written in ${round}\n`);
  },
  rename: (path: string, name: string, round: number) => {
    move(name, `own-${seed}-moved-${round}`);
    assert.throws(() => statSync(path), { code: "ENOENT" });
  },
  replace: (_path: string, name: string) => {
    const other = pick([...own.keys()]);
    if (other !== name) {
      move(name, other);
    }
  },
};

function keepOpen(path: string): void {
  opened.push(openSync(path, "r"));
  if (opened.length > MAXIMUM_OPEN) {
    closeSync(opened.shift()!);
  }
}

function change(round: number): void {
  const name = pick([...own.keys()]);
  const path = join(folder, name);
  if (random(2) === 0) {
    keepOpen(path);
  }
  if (random(2) === 0) {
    pick(Object.values(changesOfAttributes))(path, round);
  } else {
    pick(Object.values(changesOfContent))(path, name, round);
  }
  const other = join(folder, pick(shared));
  if (random(2) === 0) {
    keepOpen(other);
  }
  if (random(2) === 0) {
    pick(Object.values(changesOfAttributes))(other, round);
  }
}

for (let round = 0; round < Number(rounds); round++) {
  change(round);
  for (let count = 0; count < 5; count++) {
    const [name, expected] = pick([...own]);
    assert.equal(readFileSync(join(folder, name), "utf8"), expected, name);
    const one = pick(shared);
    assert.equal(readFileSync(join(folder, one), "utf8"), contentOf(one), one);
  }
}
for (const [name, expected] of own) {
  assert.equal(readFileSync(join(folder, name), "utf8"), expected, name);
}
