/**
 * `npm run package [-- --bundles]`: makes package/bundle/, which needs Node, and package/bin/bb_worker and bb_runner,
 * which need nothing but the C library. Beside each program lies its bill of materials.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";
import { parseArgs } from "node:util";
import { billOfMaterials } from "./bill-of-materials.ts";
import { bundle, bundleThread, copyAddon } from "./bundle.ts";
import { bundledPackages } from "./bundled-packages.ts";
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
const [thread, worker, runner] = await Promise.all([
  bundleThread(bundles),
  bundle("bb_worker", bundles),
  bundle("bb_runner", bundles),
]);
const contents = {
  bb_worker: bundledPackages([...worker, thread]),
  bb_runner: bundledPackages(runner),
};
for (const program of PROGRAMS) {
  writeFileSync(
    path.join(bundles, `${program}.cdx.json`),
    billOfMaterials(program, contents[program], "bundle"),
  );
  await recordCode(program, bundles);
}
console.log(`${bundles}: node ${bundles}/bb_worker.cjs CONFIG`);
if (!values.bundles) {
  mkdirSync(executables, { recursive: true });
  for (const program of PROGRAMS) {
    const output = path.join(executables, program);
    await makeExecutable(program, bundles, output);
    writeFileSync(`${output}.cdx.json`, billOfMaterials(program, contents[program], "executable"));
    console.log(output);
  }
}
