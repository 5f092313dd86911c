import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { type BuildOptions, build, type Metafile, type Plugin, transform } from "esbuild";
import packageJson from "../../package.json" with { type: "json" };

export type ProgramName = "bb_worker" | "bb_runner";

export const ROOT = path.resolve(import.meta.dirname, "../..");
const MAIN = { bb_worker: "src/worker/main.ts", bb_runner: "src/runner/main.ts" };
const PISCINA = path.dirname(createRequire(import.meta.url).resolve("piscina"));
/** From the root, as it gets into the source map: whatever the checkout's folder is, the bundle is the same. */
const PISCINA_WORKER = `./${path.relative(ROOT, path.join(PISCINA, "worker.js"))}`;
/** The C helpers that each program executes. */
export const HELPERS: Readonly<Record<ProgramName, readonly string[]>> = {
  bb_worker: ["bb_mount", "bb_files"],
  bb_runner: ["bb_spawn"],
};

/** In the bundles, these modules of ours take the place of others. */
const REPLACEMENTS: Plugin = {
  name: "replacements",
  setup({ onLoad, onResolve }) {
    const instead = (filter: RegExp, contents: string) =>
      onLoad({ filter }, () => ({ contents, resolveDir: ROOT, loader: "ts" }));
    instead(/src\/native\/helper\.ts$/, `export * from "./src/package/helper.ts";`);
    instead(/src\/config\/version\.ts$/, `export * from "./src/package/version.ts";`);
    instead(/\.node$/, `module.exports = require("./src/package/ffi-rs.ts").ADDON;`);
    onResolve({ filter: /^node:worker_threads$/ }, ({ importer }) =>
      importer.includes("/piscina/dist/worker_pool/")
        ? { path: path.join(ROOT, "src/package/threads.ts") }
        : undefined,
    );
  },
};

const SHARED: BuildOptions = {
  absWorkingDir: ROOT,
  bundle: true,
  platform: "node",
  target: "node24",
  format: "cjs",
  sourcemap: true,
  logLevel: "warning",
  plugins: [REPLACEMENTS],
  // Only these of the sources' modules look for files by where they are, or say who they are.
  define: {
    "import.meta.url": "fileUrl",
    "import.meta.dirname": "__dirname",
    "import.meta.filename": "__filename",
    VERSION: JSON.stringify(packageJson.version),
  },
};

/** What a program's own first line gives to Node. */
export function nodeFlags(program: ProgramName): string[] {
  return firstLine(program)
    .split(" ")
    .filter((word) => word.startsWith("--"));
}

/** For a shell. */
function firstLine(program: ProgramName): string {
  return readFileSync(path.join(ROOT, MAIN[program]), "utf8").split("\n", 1)[0]!;
}

/** Writes a program's bundle, what starts it, and the native files beside it. Returns what went into them. */
export async function bundle(program: ProgramName, folder: string): Promise<Metafile[]> {
  const define = { ...SHARED.define, PROGRAM: JSON.stringify(program) };
  const contents = [
    await buildFunction({
      define,
      // Not the file itself as the entry point: the bundle would begin with its first line, for the shell.
      stdin: { contents: `import "./${MAIN[program]}";`, resolveDir: ROOT },
      outfile: path.join(folder, `${program}.bundle.js`),
    }),
  ];
  for (const records of [true, false]) {
    const { metafile } = await build({
      ...SHARED,
      metafile: true,
      define: { ...define, RECORDS: String(records) },
      entryPoints: ["src/package/start.ts"],
      outfile: path.join(folder, `${program}${records ? ".recording" : ""}.cjs`),
      sourcemap: false,
      banner: { js: firstLine(program) },
    });
    contents.push(metafile);
  }
  for (const helper of HELPERS[program]) {
    copyFileSync(path.join(ROOT, "native/bin", helper), path.join(folder, helper));
  }
  return contents;
}

/**
 * Writes the bundle of the transfer pool's threads: what piscina begins a thread with, and what runs the tasks. Returns what
 * went into it.
 */
export function bundleThread(folder: string): Promise<Metafile> {
  return buildFunction({
    stdin: {
      contents: `
        import ${JSON.stringify(PISCINA_WORKER)};
        export { default } from "./src/cas/transfer/transfer-thread.ts";
      `,
      resolveDir: ROOT,
    },
    outfile: path.join(folder, "transfer-thread.js"),
  });
}

const BEYOND_LATIN_1 = /[^\0-\xff]/g;

/**
 * Writes what `src/package/start.ts` loads: a function of a CommonJS module's variables, in Latin-1. V8 then uses the text
 * as it was read, at one byte a character; otherwise the start of a program makes two copies of it at two bytes each.
 */
async function buildFunction(options: BuildOptions): Promise<Metafile> {
  const { outputFiles, metafile } = await build({
    ...SHARED,
    ...options,
    banner: {
      js: `(function (exports, require, module, __filename, __dirname) {
const fileUrl = require("node:url").pathToFileURL(__filename).href;`,
    },
    footer: { js: "})" },
    write: false,
    metafile: true,
  });
  for (const { path: file, text } of outputFiles) {
    if (file.endsWith(".map")) {
      writeFileSync(file, text);
      continue;
    }
    const { code } = await transform(text, { minifyWhitespace: true });
    const beyond = code.match(BEYOND_LATIN_1);
    if (beyond !== null) {
      throw new Error(`${file} has characters beyond Latin-1 outside comments: ${beyond}`);
    }
    writeFileSync(file, text.replace(BEYOND_LATIN_1, "?"), "latin1");
  }
  return metafile;
}

/** The addon of ffi-rs for this machine's kind. */
export function copyAddon(folder: string): void {
  const require = createRequire(createRequire(import.meta.url).resolve("ffi-rs"));
  copyFileSync(require.resolve("@yuuang/ffi-rs-linux-x64-gnu"), path.join(folder, "ffi-rs.node"));
}
