export * from "./file-system.ts";
export { Gate, type GateOptions } from "./gate.ts";
export type { Limits } from "./limits.ts";
export { MemoryFileSystem, type MemoryFileSystemOptions } from "./memory/memory-file-system.ts";
export type { OperationName } from "./protocol/operation.ts";
export { ReadOnlyDirectory, ReadOnlyFile } from "./read-only.ts";
export { type ListenOptions, NfsServer, type NfsServerOptions, type NfsServerStatistics } from "./server.ts";
export { DURATION_BOUNDS, type OperationCount, type OperationDurations } from "./statistics.ts";
