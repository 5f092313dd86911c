export { MountError, WriteBackError } from "./mount-helper.ts";
export { isMounted, type MountTableEntry, parseMountTable, readMountTable } from "./mount-table.ts";
export { NetworkNamespace } from "./network-namespace.ts";
export { clearStaleMounts, NfsMount, type NfsMountSettings, shareMounts } from "./nfs-mount.ts";
export type { NfsVersion } from "./nfs-mount-options.ts";
