import type { Callbacks } from "./callback/callbacks.ts";
import type { Delegations } from "./delegations/delegations.ts";
import type { FileSystem, MaybePromise, Node } from "./file-system.ts";
import type { Gate } from "./gate.ts";
import type { Limits } from "./limits.ts";
import type { ServerState } from "./state/server-state.ts";
import type { OperationStatistics } from "./statistics.ts";

/** What the parts of one server share. */
export interface ServerContext {
  readonly fileSystem: FileSystem;
  /** {@link FileSystem.refresh}, if the file system has it. */
  readonly refresh: ((node: Node) => MaybePromise<void>) | undefined;
  readonly gate: Gate | undefined;
  readonly state: ServerState;
  readonly callbacks: Callbacks;
  readonly delegations: Delegations;
  readonly minimumMinorVersion: number;
  readonly maximumMinorVersion: number;
  readonly limits: Limits;
  /** Names must be UTF-8. */
  readonly utf8Names: boolean;
  /** The longest RPC message in bytes, either way. */
  readonly maximumRecord: number;
  readonly leaseSeconds: number;
  readonly statistics: OperationStatistics;
  /** An operation threw something other than an NFS status. */
  reportFault(error: unknown, operation: number): void;
}
