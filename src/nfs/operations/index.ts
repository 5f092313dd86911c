import type { OperationHandler, OperationTable } from "../compound/compound.ts";
import { OPERATION_COUNT, Operation, type OperationName } from "../protocol/operation.ts";
import { access } from "./access.ts";
import { allocate, deallocate } from "./allocate.ts";
import { backchannelCtl } from "./backchannel-ctl.ts";
import { bindConnToSession } from "./bind-conn-to-session.ts";
import { close } from "./close.ts";
import { commit } from "./commit.ts";
import { clone, copy } from "./copy.ts";
import { create } from "./create.ts";
import { createSession } from "./create-session.ts";
import { delegreturn } from "./delegreturn.ts";
import { destroyClientid } from "./destroy-clientid.ts";
import { destroySession } from "./destroy-session.ts";
import { exchangeId } from "./exchange-id.ts";
import { freeStateid } from "./free-stateid.ts";
import { getattr } from "./getattr.ts";
import { getfh } from "./getfh.ts";
import { ioAdvise } from "./io-advise.ts";
import { link } from "./link.ts";
import { lock } from "./lock.ts";
import { lockt } from "./lockt.ts";
import { locku } from "./locku.ts";
import { lookup } from "./lookup.ts";
import { lookupp } from "./lookupp.ts";
import { open } from "./open.ts";
import { openConfirm } from "./open-confirm.ts";
import { openDowngrade } from "./open-downgrade.ts";
import { putfh } from "./putfh.ts";
import { putrootfh } from "./putrootfh.ts";
import { read } from "./read.ts";
import { readPlus } from "./read-plus.ts";
import { readdir } from "./readdir.ts";
import { readlink } from "./readlink.ts";
import { reclaimComplete } from "./reclaim-complete.ts";
import { releaseLockowner } from "./release-lockowner.ts";
import { remove } from "./remove.ts";
import { rename } from "./rename.ts";
import { renew } from "./renew.ts";
import { restorefh } from "./restorefh.ts";
import { savefh } from "./savefh.ts";
import { secinfo, secinfoNoName } from "./secinfo.ts";
import { seek } from "./seek.ts";
import { sequence } from "./sequence.ts";
import { setattr } from "./setattr.ts";
import { setclientid, setclientidConfirm } from "./setclientid.ts";
import { testStateid } from "./test-stateid.ts";
import { nverify, verify } from "./verify.ts";
import { wantDelegation } from "./want-delegation.ts";
import { write } from "./write.ts";
import { getxattr, listxattrs, removexattr, setxattr } from "./xattr.ts";

type Handlers = Partial<Record<OperationName, OperationHandler>>;

const EVERY_VERSION: Handlers = {
  ACCESS: access,
  CLOSE: close,
  COMMIT: commit,
  CREATE: create,
  DELEGRETURN: delegreturn,
  GETATTR: getattr,
  GETFH: getfh,
  LINK: link,
  LOCK: lock,
  LOCKT: lockt,
  LOCKU: locku,
  LOOKUP: lookup,
  LOOKUPP: lookupp,
  NVERIFY: nverify,
  OPEN: open,
  OPEN_DOWNGRADE: openDowngrade,
  PUTFH: putfh,
  PUTPUBFH: putrootfh,
  PUTROOTFH: putrootfh,
  READ: read,
  READDIR: readdir,
  READLINK: readlink,
  REMOVE: remove,
  RENAME: rename,
  RESTOREFH: restorefh,
  SAVEFH: savefh,
  SECINFO: secinfo,
  SETATTR: setattr,
  VERIFY: verify,
  WRITE: write,
};

const VERSION_0_ONLY: Handlers = {
  OPEN_CONFIRM: openConfirm,
  RELEASE_LOCKOWNER: releaseLockowner,
  RENEW: renew,
  SETCLIENTID: setclientid,
  SETCLIENTID_CONFIRM: setclientidConfirm,
};

const SINCE_VERSION_1: Handlers = {
  BACKCHANNEL_CTL: backchannelCtl,
  BIND_CONN_TO_SESSION: bindConnToSession,
  CREATE_SESSION: createSession,
  DESTROY_CLIENTID: destroyClientid,
  DESTROY_SESSION: destroySession,
  EXCHANGE_ID: exchangeId,
  FREE_STATEID: freeStateid,
  RECLAIM_COMPLETE: reclaimComplete,
  SECINFO_NO_NAME: secinfoNoName,
  SEQUENCE: sequence,
  TEST_STATEID: testStateid,
  WANT_DELEGATION: wantDelegation,
};

const SINCE_VERSION_2: Handlers = {
  ALLOCATE: allocate,
  CLONE: clone,
  COPY: copy,
  DEALLOCATE: deallocate,
  GETXATTR: getxattr,
  IO_ADVISE: ioAdvise,
  LISTXATTRS: listxattrs,
  READ_PLUS: readPlus,
  REMOVEXATTR: removexattr,
  SEEK: seek,
  SETXATTR: setxattr,
};

/** The handlers by minor version and operation number; an operation without one is NFS4ERR_NOTSUPP. */
export const OPERATIONS: OperationTable = [
  table(EVERY_VERSION, VERSION_0_ONLY),
  table(EVERY_VERSION, SINCE_VERSION_1),
  table(EVERY_VERSION, SINCE_VERSION_1, SINCE_VERSION_2),
];

function table(...groups: readonly Handlers[]): readonly (OperationHandler | undefined)[] {
  const handlers: (OperationHandler | undefined)[] = new Array(OPERATION_COUNT).fill(undefined);
  for (const [name, handler] of groups.flatMap((group) => Object.entries(group))) {
    handlers[Operation[name as OperationName]] = handler;
  }
  return handlers;
}
