import { constants } from "node:os";
import { loadPackagedFile } from "./packaged-file.ts";

const MODULE: { readonly exports: unknown } = { exports: {} };
loadPackagedFile("ffi-rs.node", (path) => process.dlopen(MODULE, path, constants.dlopen.RTLD_NOW));

/** In the bundles, the addon of ffi-rs, which its package looks for in node_modules. */
export const ADDON = MODULE.exports;
