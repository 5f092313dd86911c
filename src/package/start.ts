/**
 * What a packaged program and its threads begin with: runs the bundle, with what V8 made of it before. Both are beside
 * this file, or embedded in the executable that this file is the first of.
 */
import { existsSync, readFileSync } from "node:fs";
import Module, { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { getRawAsset, isSea } from "node:sea";
import { constants, Script } from "node:vm";
import { isMainThread } from "node:worker_threads";
import { recordCode } from "./record-code.ts";

/** "bb_worker" or "bb_runner". */
declare const PROGRAM: string;
/** Whether this run is to write down what V8 makes of the bundle. */
declare const RECORDS: boolean;

function main(): void {
  const name = isMainThread ? `${PROGRAM}.bundle.js` : "transfer-thread.js";
  // Where there is no file, a path that says where it would be, for stack traces.
  const filename = join(isSea() ? resolve(process.execPath) : __dirname, name);
  const source = isSea() ? embedded(name).toString("latin1") : readFileSync(filename, "latin1");
  const cachedData = RECORDS ? undefined : code(name, `${filename}.code`);
  const script = new Script(source, {
    filename,
    ...(cachedData && { cachedData }),
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
  });
  if (RECORDS) {
    recordCode(script, `${filename}.code`);
  }
  const module = new Module(filename);
  const requireFile = createRequire(filename);
  // A thread's bundle is asked for by its own name: piscina loads what it runs tasks with.
  const require = (id: string): unknown => (id === filename ? module.exports : requireFile(id));
  script.runInThisContext()(
    module.exports,
    Object.assign(require, requireFile),
    module,
    filename,
    dirname(filename),
  );
}

/** V8 ignores it where it is of another version of V8, or was made under other flags. */
function code(name: string, path: string): Buffer | undefined {
  if (isSea()) {
    return embedded(`${name}.code`);
  }
  return existsSync(path) ? readFileSync(path) : undefined;
}

/** Not a copy. */
function embedded(name: string): Buffer {
  return Buffer.from(getRawAsset(name) as ArrayBuffer);
}

main();
