import { execFile } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";
import { inject } from "postject";
import { HELPERS, nodeFlags, type ProgramName } from "./bundle.ts";

const run = promisify(execFile);
/** Node looks for this in itself; https://nodejs.org/api/single-executable-applications.html. */
const FUSE = "NODE_SEA_FUSE_fce680ab2cc467b6e072b8b5df1996b2";

/** Makes one file of Node, a program's bundle in `folder` and all that belongs to it. */
export async function makeExecutable(program: ProgramName, folder: string, output: string): Promise<void> {
  const scratch = mkdtempSync(path.join(tmpdir(), "executable-"));
  try {
    const start = path.join(folder, `${program}.cjs`);
    const bundles = [`${program}.bundle.js`, ...(program === "bb_worker" ? ["transfer-thread.js"] : [])];
    const files = [...bundles.flatMap((file) => [file, `${file}.code`]), ...HELPERS[program], "ffi-rs.node"];
    const blob = path.join(scratch, "blob");
    const configuration = path.join(scratch, "sea.json");
    writeFileSync(
      configuration,
      JSON.stringify({
        main: start,
        output: blob,
        disableExperimentalSEAWarning: true,
        execArgv: nodeFlags(program),
        assets: {
          ...Object.fromEntries(files.map((file) => [file, path.join(folder, file)])),
          "start.js": start,
        },
      }),
    );
    await run(process.execPath, ["--experimental-sea-config", configuration]);
    // Under another name until it is whole: an executable that runs cannot be written to.
    const executable = path.join(scratch, program);
    await withoutSymbols(process.execPath, executable);
    await inject(executable, "NODE_SEA_BLOB", readFileSync(blob), { sentinelFuse: FUSE });
    copyFileSync(executable, `${output}.new`);
    chmodSync(`${output}.new`, 0o755);
    renameSync(`${output}.new`, output);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** 18 MB less. */
async function withoutSymbols(file: string, output: string): Promise<void> {
  await run("strip", ["-o", output, file]);
}
