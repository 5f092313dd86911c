import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { checkReport } from "./check.ts";
import type { FieldPath } from "./field-path.ts";
import { loadConfiguration } from "./load-configuration.ts";
import { version } from "./version.ts";

export interface Program<Desc extends DescMessage, Settings> {
  readonly name: string;
  readonly usage: string;
  readonly schema: Desc;
  settingsOf(configuration: MessageShape<Desc>, root?: FieldPath): Settings;
}

/** What a program is to do: serve by these settings, or end with this status, all that was asked for being done. */
export type Order<Settings> = { readonly settings: Settings } | { readonly exitStatus: number };

/**
 * Reads the command line that bb_worker and bb_runner share: `CONFIG`, `--check CONFIG`, `--version` or `--help`, where CONFIG is a
 * file, or `-` for standard input. Help, version and the report of `--check` are written to standard output.
 *
 * Throws {@link ConfigurationError} if CONFIG, without `--check`, cannot be used.
 */
export function order<Desc extends DescMessage, Settings extends object>(
  program: Program<Desc, Settings>,
  words: readonly string[],
): Order<Settings> {
  const [first, ...more] = words;
  if (first === "--help" || first === "-h") {
    process.stdout.write(program.usage);
    return { exitStatus: 0 };
  }
  if (first === "--version") {
    process.stdout.write(`${program.name} ${version()}\n`);
    return { exitStatus: 0 };
  }
  const check = first === "--check";
  const [path, ...others] = check ? more : words;
  if (path === undefined || (path.startsWith("-") && path !== "-") || others.length > 0) {
    process.stderr.write(program.usage);
    return { exitStatus: 2 };
  }
  if (!check) {
    return { settings: program.settingsOf(loadConfiguration(path, program.schema)) };
  }
  const report = checkReport((root) => program.settingsOf(loadConfiguration(path, program.schema), root));
  process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`);
  return { exitStatus: report.usable ? 0 : 1 };
}
