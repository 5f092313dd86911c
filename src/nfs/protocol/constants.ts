/** Numbers of RFC 5531, RFC 8881 and RFC 7862 that are neither statuses, operations nor attributes. */

export const NFS_PROGRAM = 100003;
export const NFS_VERSION = 4;
export const PROCEDURE_NULL = 0;
export const PROCEDURE_COMPOUND = 1;

/** NFS4_FHSIZE, in bytes. */
export const MAXIMUM_HANDLE = 128;
/** NFS4_OPAQUE_LIMIT, in bytes. */
export const MAXIMUM_OPAQUE = 1024;
/** Bytes of a name. */
export const MAXIMUM_NAME = 255;
/** Bytes of a symbolic link's target: Linux's PATH_MAX. */
export const MAXIMUM_LINK_TARGET = 4096;
/** Bytes of data in one READ or WRITE. */
export const MAXIMUM_IO = 1024 * 1024;

export const RpcMessageType = { CALL: 0, REPLY: 1 } as const;
export const AuthFlavor = { NONE: 0, SYS: 1, SHORT: 2 } as const;

/** ACCESS4_* (RFC 8881 §18.1, RFC 8276 §8.3). */
export const Access = {
  READ: 0x01,
  LOOKUP: 0x02,
  MODIFY: 0x04,
  EXTEND: 0x08,
  DELETE: 0x10,
  EXECUTE: 0x20,
  XATTR_READ: 0x40,
  XATTR_WRITE: 0x80,
  XATTR_LIST: 0x100,
} as const;

/** OPEN4_SHARE_ACCESS_* and OPEN4_SHARE_DENY_*: the same two bits. */
export const Share = { NONE: 0, READ: 1, WRITE: 2, BOTH: 3 } as const;

/** OPEN4_SHARE_ACCESS_WANT_* (RFC 8881 §18.16.3, RFC 9754). */
export const Want = {
  MASK: 0xff00,
  NO_PREFERENCE: 0x0000,
  READ_DELEGATION: 0x0100,
  WRITE_DELEGATION: 0x0200,
  ANY_DELEGATION: 0x0300,
  NO_DELEGATION: 0x0400,
  CANCEL: 0x0500,
  SIGNAL_DELEGATION_WHEN_RESOURCE_AVAILABLE: 0x1_0000,
  PUSH_DELEGATION_WHEN_UNCONTENDED: 0x2_0000,
  DELEGATED_TIMESTAMPS: 0x10_0000,
  OPEN_XOR_DELEGATION: 0x20_0000,
} as const;

export const OpenType = { NOCREATE: 0, CREATE: 1 } as const;
export const CreateMode = { UNCHECKED: 0, GUARDED: 1, EXCLUSIVE: 2, EXCLUSIVE_1: 3 } as const;

/** open_claim_type4. */
export const Claim = {
  NULL: 0,
  PREVIOUS: 1,
  DELEGATE_CURRENT: 2,
  DELEGATE_PREVIOUS: 3,
  FH: 4,
  DELEGATE_CURRENT_FH: 5,
  DELEGATE_PREVIOUS_FH: 6,
} as const;

/** OPEN4_RESULT_*. */
export const OpenResult = {
  CONFIRM: 0x2,
  LOCKTYPE_POSIX: 0x4,
  PRESERVE_UNLINKED: 0x8,
  NO_OPEN_STATEID: 0x10,
  MAY_NOTIFY_LOCK: 0x20,
} as const;

/** open_delegation_type4 (RFC 8881 §18.16.1, RFC 9754 §5.2). */
export const DelegationType = {
  NONE: 0,
  READ: 1,
  WRITE: 2,
  NONE_EXT: 3,
  READ_ATTRIBUTES: 4,
  WRITE_ATTRIBUTES: 5,
} as const;

/** why_no_delegation4. */
export const WhyNoDelegation = {
  NOT_WANTED: 0,
  CONTENTION: 1,
  RESOURCE: 2,
  NOT_SUPP_FTYPE: 3,
  WRITE_DELEG_NOT_SUPP_FTYPE: 4,
  NOT_SUPP_UPGRADE: 5,
  NOT_SUPP_DOWNGRADE: 6,
  CANCELLED: 7,
  IS_DIR: 8,
} as const;

/** nfs_lock_type4. */
export const LockType = { READ: 1, WRITE: 2, READ_BLOCKING: 3, WRITE_BLOCKING: 4 } as const;

/** stable_how4. */
export const Stable = { UNSTABLE: 0, DATA_SYNC: 1, FILE_SYNC: 2 } as const;

/** EXCHGID4_FLAG_*. */
export const ExchangeFlag = {
  SUPP_MOVED_REFER: 0x1,
  SUPP_MOVED_MIGR: 0x2,
  BIND_PRINC_STATEID: 0x100,
  USE_NON_PNFS: 0x1_0000,
  USE_PNFS_MDS: 0x2_0000,
  USE_PNFS_DS: 0x4_0000,
  UPD_CONFIRMED_REC_A: 0x4000_0000,
  CONFIRMED_R: 0x8000_0000,
} as const;

/** CREATE_SESSION4_FLAG_*. */
export const SessionFlag = { PERSIST: 1, CONN_BACK_CHAN: 2, CONN_RDMA: 4 } as const;

/** SEQ4_STATUS_*. */
export const SequenceStatus = {
  CB_PATH_DOWN: 0x1,
  EXPIRED_ALL_STATE_REVOKED: 0x8,
  EXPIRED_SOME_STATE_REVOKED: 0x10,
  ADMIN_STATE_REVOKED: 0x20,
  RECALLABLE_STATE_REVOKED: 0x40,
  CB_PATH_DOWN_SESSION: 0x200,
  BACKCHANNEL_FAULT: 0x400,
} as const;
