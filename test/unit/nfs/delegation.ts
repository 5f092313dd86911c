import assert from "node:assert/strict";
import { Status } from "../../../src/nfs/protocol/status.ts";
import type { XdrReader } from "../../../src/xdr/index.ts";
import { type CompoundOptions, expectResult, openArguments, type TestSession } from "./client.ts";

/** open_delegation4. */
export interface OpenedDelegation {
  /** open_delegation_type4. */
  readonly type: number;
  /** Of a delegation. */
  readonly stateid: Buffer;
  /** why_no_delegation4, of NONE_EXT. */
  readonly why: number;
}

export const DelegationType = {
  NONE: 0,
  READ: 1,
  WRITE: 2,
  NONE_EXT: 3,
  READ_ATTRS: 4,
  WRITE_ATTRS: 5,
} as const;

export function readDelegation(reader: XdrReader): OpenedDelegation {
  const type = reader.uint32();
  let stateid = Buffer.alloc(0);
  let why = 0;
  if (type === DelegationType.NONE_EXT) {
    why = reader.uint32();
    // CONTENTION and RESOURCE say whether the server will call when the delegation can be had.
    if (why === 1 || why === 2) {
      assert.equal(reader.bool(), false);
    }
  } else if (type !== DelegationType.NONE) {
    stateid = Buffer.from(reader.fixed(16));
    reader.bool();
    if (type === DelegationType.WRITE || type === DelegationType.WRITE_ATTRS) {
      reader.skip(12);
    }
    reader.skip(12);
    reader.latin1(100);
  }
  return { type, stateid, why };
}

/** OPEN of a file in the root, `access` with the wants; the delegation that came of it. */
export async function openWanting(
  session: TestSession,
  name: string,
  access: number,
  options: CompoundOptions = {},
): Promise<OpenedDelegation & { file: Buffer; open: Buffer; flags: number }> {
  const { reader, status } = await session.call(
    [["PUTROOTFH"], ["OPEN", openArguments(session.clientid, name, { access })], ["GETFH"]],
    options,
  );
  assert.equal(status, Status.OK);
  expectResult(reader, "PUTROOTFH");
  expectResult(reader, "OPEN");
  const open = Buffer.from(reader.fixed(16));
  reader.skip(20);
  const flags = reader.uint32();
  reader.skip(4 * reader.length(3));
  const delegation = readDelegation(reader);
  expectResult(reader, "GETFH");
  return { ...delegation, open, flags, file: Buffer.from(reader.opaque(128)) };
}

/** {@link openWanting}, and a delegation must come of it. */
export async function openDelegated(session: TestSession, name: string, access: number) {
  const opened = await openWanting(session, name, access);
  assert.notEqual(opened.type, DelegationType.NONE);
  assert.notEqual(opened.type, DelegationType.NONE_EXT, `no delegation, reason ${opened.why}`);
  return opened;
}
