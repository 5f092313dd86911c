/**
 * The "may import" column of docs/architecture.md, checked by `npm run check`.
 * A folder under src/ may import itself, the folders named here, and async/, which imports nothing.
 */
const mayImport = {
  async: [],
  xdr: [],
  proto: [],
  mount: ["native"],
  telemetry: [],
  native: [],
  "user-mode-linux": [],
  nfs: ["xdr"],
  grpc: ["proto"],
  reapi: ["proto", "grpc"],
  cas: ["proto", "grpc", "reapi", "telemetry"],
  vfs: ["nfs", "cas", "reapi"],
  config: ["proto", "grpc"],
  runner: ["proto", "grpc", "config", "telemetry", "native"],
  worker: ["proto", "grpc", "reapi", "config", "telemetry", "cas", "vfs", "nfs", "mount"],
  cluster: ["proto", "grpc", "reapi", "config", "telemetry", "cas", "user-mode-linux"],
};

const folderRules = Object.entries(mayImport).map(([folder, others]) => ({
  name: `src-${folder}-imports-only-what-it-may`,
  severity: "error",
  from: { path: `^src/${folder}/` },
  to: { path: "^src/", pathNot: `^src/(${[folder, "async", ...others].join("|")})/` },
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
      name: "vfs-sees-only-the-input-source",
      comment: "The tree reads its inputs through that interface; it knows nothing of caches and transfers.",
      severity: "error",
      from: { path: "^src/vfs/" },
      to: { path: "^src/cas/", pathNot: "^src/cas/input-source\\.ts$" },
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
