import { execFile } from "node:child_process";
import { globSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

/** A real Bazel with one workspace, which is at `folder`/workspace. */
export class Bazel {
  readonly #program: string;
  readonly #folder: string;

  private constructor(program: string, folder: string) {
    this.#program = program;
    this.#folder = folder;
  }

  /** With these files in the workspace. All that it keeps is in `folder`. Shut it down by {@link run}. */
  static async create(folder: string, files: Readonly<Record<string, string>>): Promise<Bazel> {
    const pattern = join(import.meta.dirname, "../node_modules/@bazel/bazel-linux_x64/bazel-*");
    const [program] = globSync(pattern);
    if (program === undefined) {
      throw new Error(`there is no Bazel at ${pattern}: run npm run setup`);
    }
    for (const [name, content] of Object.entries({ WORKSPACE: "", ...files })) {
      const path = join(folder, "workspace", name);
      await mkdir(join(path, ".."), { recursive: true });
      await writeFile(path, content);
    }
    return new Bazel(program, folder);
  }

  /** Runs one command. Resolves to what it reports; rejects if it fails. */
  run(...args: string[]): Promise<string> {
    const startupOptions = [
      `--output_user_root=${join(this.#folder, "bazel")}`,
      "--max_idle_secs=60",
      "--nosystem_rc",
      "--nohome_rc",
    ];
    return new Promise((resolve, reject) =>
      execFile(
        this.#program,
        [...startupOptions, ...args],
        { cwd: join(this.#folder, "workspace") },
        (error, stdout, stderr) =>
          error ? reject(new Error(`${error.message}\n${stdout}`)) : resolve(stderr),
      ),
    );
  }

  /** Where a built file of the workspace's own package is. */
  output(name: string): string {
    return join(this.#folder, "workspace/bazel-bin", name);
  }
}

/** How many layers of how many rules. */
export interface Layers {
  readonly layers: number;
  readonly rulesPerLayer: number;
}

/** The files of rules in layers: each joins two of the layer before, or the seed, and adds its own name. */
export function layeredRules({ layers, rulesPerLayer }: Layers): Record<string, string> {
  const rules = [];
  for (let layer = 0; layer < layers; layer++) {
    for (let rule = 0; rule < rulesPerLayer; rule++) {
      const sources =
        layer === 0 ? ["seed.txt"] : [rule, (rule + 1) % rulesPerLayer].map((n) => `${layer - 1}_${n}.txt`);
      rules.push(genrule(`${layer}_${rule}`, sources, `cat $(SRCS) > $@ && echo ${layer}_${rule} >> $@`));
    }
  }
  return { BUILD: rules.join("\n"), "seed.txt": "seed\n" };
}

/** By the name of each file that {@link layeredRules} make, what must be in it. */
export function layeredOutputs({ layers, rulesPerLayer }: Layers): Map<string, string> {
  const outputs = new Map<string, string>();
  for (let layer = 0; layer < layers; layer++) {
    for (let rule = 0; rule < rulesPerLayer; rule++) {
      const sources =
        layer === 0
          ? "seed\n"
          : [rule, (rule + 1) % rulesPerLayer]
              // Bazel gives a rule's sources in the order of its list.
              .map((n) => outputs.get(`${layer - 1}_${n}.txt`))
              .join("");
      outputs.set(`${layer}_${rule}.txt`, `${sources}${layer}_${rule}\n`);
    }
  }
  return outputs;
}

/** A rule that makes NAME.txt. */
export function genrule(name: string, sources: readonly string[], command: string): string {
  return `genrule(name = "${name}", srcs = ${JSON.stringify(sources)}, outs = ["${name}.txt"], cmd = ${JSON.stringify(command)})`;
}
