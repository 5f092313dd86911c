/**
 * The "may import" column of docs/architecture.md, checked by `npm run check`.
 * A folder under src/ may import itself, and the folders named here.
 */
const mayImport = {
  xdr: [],
  proto: [],
  mount: ["native"],
  telemetry: [],
  native: [],
  "user-mode-linux": [],
  nfs: ["xdr"],
  grpc: ["proto"],
  reapi: ["proto"],
  cas: ["proto", "grpc", "reapi", "telemetry"],
  vfs: ["nfs", "cas", "reapi"],
  config: ["proto", "grpc", "reapi", "cas"],
  runner: ["proto", "grpc", "config", "telemetry", "native"],
  worker: ["proto", "grpc", "reapi", "config", "telemetry", "cas", "vfs", "nfs", "mount"],
  cluster: ["proto", "grpc", "reapi", "config", "telemetry", "cas", "user-mode-linux"],
};

const folderRules = Object.entries(mayImport).map(([folder, others]) => ({
  name: `src-${folder}-imports-only-what-it-may`,
  severity: "error",
  from: { path: `^src/${folder}/` },
  to: { path: "^src/", pathNot: `^src/(${[folder, ...others].join("|")})/` },
}));

module.exports = {
  forbidden: [
    ...folderRules,
    {
      name: "vfs-sees-only-the-nfs-interface",
      comment: "The tree implements the interface; it knows nothing of the protocol.",
      severity: "error",
      from: { path: "^src/vfs/" },
      to: { path: "^src/nfs/", pathNot: "^src/nfs/file-system\\.ts$" },
    },
    {
      name: "no-circular",
      severity: "error",
      from: {},
      to: { circular: true, viaOnly: { dependencyTypesNot: ["type-only"] } },
    },
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
