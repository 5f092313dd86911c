/** Steps of a compound that many tests take: READ, WRITE and LOCK, with their arguments written once. */
import type { Step, TestSession } from "./client.ts";

/** The anonymous stateid: READ without an open. */
export const ANONYMOUS: Buffer = Buffer.alloc(16);
/** A length that reaches to the end of any file. */
export const EVERYTHING = 2n ** 64n - 1n;

const FILE_SYNC = 2;
const WRITE_LOCK = 2;

/** `offset` is a bigint where it is to be beyond 2^53-1. */
export function read(stateid: Uint8Array, offset: number | bigint, count: number): Step {
  return [
    "READ",
    (writer) => {
      writer.fixed(stateid);
      writer.exactUint64(offset);
      writer.uint32(count);
    },
  ];
}

/** Written FILE_SYNC, unless `stable` says otherwise. */
export function write(
  stateid: Uint8Array,
  offset: number | bigint,
  data: Uint8Array,
  stable = FILE_SYNC,
): Step {
  return [
    "WRITE",
    (writer) => {
      writer.fixed(stateid);
      writer.exactUint64(offset);
      writer.uint32(stable);
      writer.opaque(data);
    },
  ];
}

export interface LockRequest {
  readonly owner: string;
  readonly offset: number | bigint;
  readonly length: number | bigint;
  /** nfs_lock_type4; default WRITE_LT. */
  readonly type?: number;
}

/** LOCK by an owner that is new to the open's stateid. */
export function lock(
  session: TestSession,
  open: Uint8Array,
  { owner, offset, length, type = WRITE_LOCK }: LockRequest,
): Step {
  return [
    "LOCK",
    (writer) => {
      writer.uint32(type);
      writer.bool(false);
      writer.exactUint64(offset);
      writer.exactUint64(length);
      writer.bool(true);
      writer.uint32(0);
      writer.fixed(open);
      writer.uint32(0);
      writer.fixed(session.clientid);
      writer.latin1(owner);
    },
  ];
}
