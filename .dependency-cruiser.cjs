const { readFileSync } = require("node:fs");
const { join } = require("node:path");

/**
 * A folder under src/ may import itself, and what the layout table of docs/architecture.md allows it, and
 * async/, which imports nothing itself:
 * | `src/NAME/` | what lives there | `folder`, `folder` (only …) |
 */
const layout = readFileSync(join(__dirname, "docs/architecture.md"), "utf8");
const rows = [...layout.matchAll(/^\| `src\/([\w-]+)\/` *\|.*\|([^|]*)\|$/gm)];
if (rows.length === 0) {
  throw new Error("docs/architecture.md has no layout table: no row begins with | `src/NAME/` |");
}
const mayImport = Object.fromEntries(rows.map(([, folder, cell]) => [folder, foldersIn(cell)]));

/** The folders named in a cell, without what is in brackets behind them. */
function foldersIn(cell) {
  return [...cell.replaceAll(/\([^)]*\)/g, "").matchAll(/`([\w-]+)`/g)].map(([, folder]) => folder);
}

const folderRules = Object.entries(mayImport).map(([folder, others]) => ({
  name: `src-${folder}-imports-only-what-it-may`,
  severity: "error",
  from: { path: `^src/${folder}/` },
  to: { path: "^src/", pathNot: `^src/(${[folder, "async", ...others].join("|")})/` },
}));

/** Inside src/nfs: what must not know what. State is clients, sessions, opens and locks; not the requests for them. */
const nfsLayers = [
  ["protocol", "(attributes|callback|compound|delegations|memory|operations|permissions|state|transport)"],
  ["(attributes|permissions)", "(callback|compound|delegations|memory|operations|state|transport)"],
  ["(state|callback|delegations)", "(compound|memory|operations|transport)"],
  ["compound", "(memory|operations|transport)"],
  ["operations", "(memory|transport)"],
  ["transport", "(memory|operations)"],
  ["memory", "(attributes|callback|compound|delegations|operations|permissions|protocol|state|transport)"],
];

module.exports = {
  forbidden: [
    ...folderRules,
    {
      name: "every-folder-is-in-the-layout-table",
      severity: "error",
      from: { path: "^src/", pathNot: `^src/(${Object.keys(mayImport).join("|")})/` },
      to: {},
    },
    {
      name: "vfs-sees-only-the-nfs-interface",
      comment: "The tree implements the interface; it knows nothing of the protocol.",
      severity: "error",
      from: { path: "^src/vfs/" },
      to: { path: "^src/nfs/", pathNot: "^src/nfs/file-system\\.ts$" },
    },
    {
      name: "vfs-sees-only-the-input-source",
      comment: "The tree reads its inputs through that interface; it knows nothing of caches and transfers.",
      severity: "error",
      from: { path: "^src/vfs/" },
      to: { path: "^src/cas/", pathNot: "^src/cas/input-source\\.ts$" },
    },
    { name: "no-circular", severity: "error", from: {}, to: { circular: true } },
    ...nfsLayers.map(([folders, above]) => ({
      name: `nfs-${folders}-knows-nothing-of-${above}`.replaceAll(/[|()]+/g, "-"),
      severity: "error",
      from: { path: `^src/nfs/${folders}/` },
      to: { path: `^src/nfs/${above}/` },
    })),
    { name: "not-to-unresolvable", severity: "error", from: {}, to: { couldNotResolve: true } },
    {
      name: "src-does-not-import-development-dependencies",
      severity: "error",
      from: { path: "^src/" },
      to: { dependencyTypes: ["npm-dev"] },
    },
    {
      name: "src-does-not-import-tests",
      severity: "error",
      from: { path: "^src/" },
      to: { path: "^(test|bench)/" },
    },
  ],
  options: {
    doNotFollow: { path: "node_modules" },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: "tsconfig.json" },
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["import", "node", "default", "types"],
    },
  },
};
