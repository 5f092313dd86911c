/**
 * `npm run package [-- --bundles]`: makes package/bundle/, which needs Node, and package/bin/bb_worker and bb_runner,
 * which need nothing but the C library.
 */
import { mkdirSync, rmSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { bundle, bundleThread, copyAddon } from "./bundle.ts";
import { makeExecutable } from "./executable.ts";
import { recordCode } from "./record.ts";

const PROGRAMS = ["bb_worker", "bb_runner"] as const;

const { values } = parseArgs({
  options: {
    bundles: { type: "boolean", default: false },
    output: { type: "string", default: path.resolve(import.meta.dirname, "../../package") },
  },
});
const bundles = path.join(values.output, "bundle");
const executables = path.join(values.output, "bin");

rmSync(bundles, { recursive: true, force: true });
mkdirSync(bundles, { recursive: true });
copyAddon(bundles);
await Promise.all([bundleThread(bundles), ...PROGRAMS.map((program) => bundle(program, bundles))]);
for (const program of PROGRAMS) {
  await recordCode(program, bundles);
}
console.log(`${bundles}: node ${bundles}/bb_worker.cjs CONFIG`);
if (!values.bundles) {
  mkdirSync(executables, { recursive: true });
  for (const program of PROGRAMS) {
    const output = path.join(executables, program);
    await makeExecutable(program, bundles, output);
    console.log(output);
  }
}
