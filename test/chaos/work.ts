import { createHash } from "node:crypto";
import type { Random } from "../kernel/random.ts";

/** An action, and what it must bring back. */
export interface Work {
  readonly name: string;
  /** The files of its input root's directory "in". */
  readonly inputs: ReadonlyMap<string, Buffer>;
  /** For /bin/sh, in the input root. */
  readonly script: string;
  readonly exitCode: number;
  readonly stdout: Buffer;
  /** The files that must be in its output directory "out", by their paths in it. */
  readonly outputs: ReadonlyMap<string, Buffer>;
}

/** Sizes around what the worker and the kernel treat differently: empty, a page, a fetch, more than a chunk. */
const SIZES = [0, 1, 100, 4096, 4097, 70_000, 300_000];
const LARGE = 2_600_000;

/** The programs that scripts use. */
export const PROGRAMS = ["sh", "cat", "cp", "mv", "rm", "ln", "mkdir", "chmod", "sleep", "dd", "sha256sum"];

/** The `number`th action of a run: reads, changes, moves and makes files, so that each fault finds it at something. */
export function makeWork(random: Random, number: number): Work {
  const name = `action ${number}`;
  const inputs = new Map<string, Buffer>();
  for (let file = random.between(4, 8); file > 0; file--) {
    inputs.set(`file${file}`, random.bytes(random.pick(SIZES)));
  }
  inputs.set("large", random.bytes(random.below(3) === 0 ? LARGE : 5000));
  const files = [...inputs.keys()];
  const state = new Map(inputs);
  const outputs = new Map<string, Buffer>();
  const stdout: Buffer[] = [];
  const script = ["set -e", "mkdir out"];

  const steps: (() => void)[] = [
    () => {
      const [a, b] = [random.pick(files), "file1"];
      const to = `joined${outputs.size}`;
      script.push(`cat in/${a} in/${b} > out/${to}`);
      outputs.set(to, Buffer.concat([state.get(a)!, state.get(b)!]));
    },
    () => {
      const file = random.pick(files);
      script.push(`sha256sum < in/${file}`);
      stdout.push(Buffer.from(`${sha256(state.get(file)!)}  -\n`));
    },
    () => {
      const file = random.pick(files);
      const text = `changed by step ${script.length}`;
      script.push(`echo ${text} >> in/${file}`);
      state.set(file, Buffer.concat([state.get(file)!, Buffer.from(`${text}\n`)]));
    },
    () => {
      const file = random.pick(files);
      const to = `moved${outputs.size}`;
      script.push(`cp in/${file} in/to-move; mv in/to-move out/${to}`);
      outputs.set(to, state.get(file)!);
    },
    () => {
      const file = random.pick(files);
      const to = `hard${outputs.size}`;
      script.push(`chmod 755 in/${file}; ln in/${file} out/${to}; rm in/${file}; cp out/${to} in/${file}`);
      outputs.set(to, state.get(file)!);
    },
    () => {
      const count = random.between(5, 30);
      const to = `many${outputs.size}`;
      script.push(
        `mkdir out/${to}; i=0; while [ $i -lt ${count} ]; do echo $i > out/${to}/$i; i=$((i+1)); done`,
      );
      for (let made = 0; made < count; made++) {
        outputs.set(`${to}/${made}`, Buffer.from(`${made}\n`));
      }
    },
    () => {
      const blocks = random.between(1, 24);
      const to = `zeros${outputs.size}`;
      script.push(`dd if=/dev/zero of=out/${to} bs=64k count=${blocks} 2> /dev/null`);
      outputs.set(to, Buffer.alloc(blocks * 65_536));
    },
    () => script.push(`sleep 0.${random.between(1, 9)}`),
  ];
  for (let step = random.between(4, 10); step > 0; step--) {
    random.pick(steps)();
  }
  const exitCode = random.pick([0, 0, 0, 0, 3]);
  script.push(`echo ${name} ends`, `exit ${exitCode}`);
  stdout.push(Buffer.from(`${name} ends\n`));
  return { name, inputs, script: script.join("\n"), exitCode, stdout: Buffer.concat(stdout), outputs };
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
