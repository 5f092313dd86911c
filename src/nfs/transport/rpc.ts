import { wordsOf, type XdrReader, type XdrWriter } from "../../xdr/index.ts";
import type { Credentials } from "../file-system.ts";
import { AuthFlavor, RpcMessageType } from "../protocol/constants.ts";

/** accept_stat (RFC 5531 §9). */
export const AcceptStatus = {
  SUCCESS: 0,
  PROG_UNAVAIL: 1,
  PROG_MISMATCH: 2,
  PROC_UNAVAIL: 3,
  GARBAGE_ARGS: 4,
  SYSTEM_ERR: 5,
} as const;

/** auth_stat. */
export const AuthStatus = { BADCRED: 1, TOOWEAK: 5 } as const;

const MAXIMUM_AUTH = 400;
const MAXIMUM_MACHINE_NAME = 255;
const MAXIMUM_GROUPS = 16;
const REMEMBERED = 16;

export interface Caller {
  readonly credentials: Credentials;
  /** Flavor and user id: callers with the same principal may act for each other. */
  readonly principal: string;
}

const NOBODY: Caller = {
  credentials: { userId: 65534, groupId: 65534, supplementaryGroupIds: [] },
  principal: "none",
};

/**
 * The credentials of RPC calls. A connection carries few different ones, so once parsed they are kept and found again
 * by their bytes.
 */
export class CallerCache {
  readonly #words: Uint32Array[] = [];
  readonly #callers: Caller[] = [];
  #next = 0;

  /**
   * Reads a call's cred and verf. undefined if the flavor is unknown or the body malformed (the reply is then
   * AUTH_ERROR); throws XdrError if the message ends early.
   */
  read(reader: XdrReader): Caller | undefined {
    const flavor = reader.uint32();
    const length = reader.length(MAXIMUM_AUTH);
    const at = reader.skip(length);
    reader.uint32();
    reader.skip(reader.length(MAXIMUM_AUTH));
    if (flavor === AuthFlavor.SYS) {
      return this.#system(reader, at, length);
    }
    return flavor === AuthFlavor.NONE && length === 0 ? NOBODY : undefined;
  }

  #system(reader: XdrReader, at: number, length: number): Caller | undefined {
    for (let index = 0; index < this.#words.length; index++) {
      const known = this.#words[index]!;
      if (4 * known.length === length && reader.matches(at, known)) {
        return this.#callers[index];
      }
    }
    const body = Buffer.from(reader.buffer.subarray(at, at + length));
    const caller = parseSystem(body);
    if (caller === undefined) {
      return undefined;
    }
    // A body that could be parsed is one of whole words.
    this.#words[this.#next] = wordsOf(body);
    this.#callers[this.#next] = caller;
    this.#next = (this.#next + 1) % REMEMBERED;
    return caller;
  }
}

/** authsys_parms (RFC 5531 appendix A). */
function parseSystem(body: Buffer): Caller | undefined {
  if (body.length < 20) {
    return undefined;
  }
  const nameLength = body.readUInt32BE(4);
  if (nameLength > MAXIMUM_MACHINE_NAME) {
    return undefined;
  }
  const at = 8 + ((nameLength + 3) & ~3);
  if (body.length < at + 12) {
    return undefined;
  }
  const groups = body.readUInt32BE(at + 8);
  if (groups > MAXIMUM_GROUPS || body.length !== at + 12 + 4 * groups) {
    return undefined;
  }
  const userId = body.readUInt32BE(at);
  const groupId = body.readUInt32BE(at + 4);
  const supplementaryGroupIds = Array.from({ length: groups }, (_, index) =>
    body.readUInt32BE(at + 12 + 4 * index),
  );
  return { credentials: { userId, groupId, supplementaryGroupIds }, principal: `sys:${userId}` };
}

/** Appends a record header (to be patched), and a reply header up to accept_stat. */
export function writeAcceptedReply(writer: XdrWriter, xid: number, status: number): void {
  writer.uint32(0);
  writer.uint32(xid);
  writer.uint32(RpcMessageType.REPLY);
  writer.uint32(0);
  writer.uint32(AuthFlavor.NONE);
  writer.uint32(0);
  writer.uint32(status);
}

/** Appends a denied reply: RPC_MISMATCH for a wrong RPC version, or AUTH_ERROR with an auth_stat. */
export function writeDeniedReply(writer: XdrWriter, xid: number, authStatus: number | undefined): void {
  writer.uint32(0);
  writer.uint32(xid);
  writer.uint32(RpcMessageType.REPLY);
  writer.uint32(1);
  if (authStatus === undefined) {
    writer.uint32(0);
    writer.uint32(2);
    writer.uint32(2);
  } else {
    writer.uint32(1);
    writer.uint32(authStatus);
  }
}
