import type { XdrReader, XdrWriter } from "../../xdr/index.ts";
import { AuthFlavor, RpcMessageType } from "../protocol/constants.ts";
import type { Status } from "../protocol/status.ts";

/** nfs_cb_opnum4 (RFC 8881 §20). */
export const CallbackOperation = { GETATTR: 3, RECALL: 4, SEQUENCE: 11, NOTIFY_LOCK: 13 } as const;

/** Procedures of the callback program. */
export const CB_NULL = 0;
export const CB_COMPOUND = 1;

/** One operation that the server sends to a client in a CB_COMPOUND, after CB_SEQUENCE. */
export interface CallbackCall {
  readonly operation: number;
  /** False once nobody waits for the answer any more: a call not yet sent then never is. */
  readonly wanted: boolean;
  /** Appends the operation's arguments. */
  encode(writer: XdrWriter): void;
  /**
   * Takes the client's answer: its status, and the reader at the result's body. Throws XdrError if the body is
   * malformed.
   */
  answered(status: Status, reader: XdrReader): void;
  /** The call could not be delivered, or the reply made no sense. It may be sent again later. */
  failed(): void;
}

/** A CB_RECALL of a delegation, and how far it has got. */
export interface RecallCall extends CallbackCall {
  /** Sent, but neither answered nor failed yet. */
  underWay: boolean;
  /** The client has agreed, or has refused in a way that no repetition will change. */
  readonly answeredForGood: boolean;
}

/** A way to call one client. */
export interface CallbackPath {
  readonly isUp: boolean;
  /** Sends the call as soon as the path has room. Then `answered` or `failed` is called, perhaps at once. */
  send(call: CallbackCall): void;
}

const CALLBACK_VERSION = 1;
const MAXIMUM_AUTH = 400;
const MAXIMUM_TAG = 4096;

/** Appends the record header (which {@link finishCall} patches) and the RPC call header. `credential`: opaque_auth. */
export function beginCall(
  writer: XdrWriter,
  xid: number,
  program: number,
  procedure: number,
  credential: Uint8Array,
): void {
  writer.uint32(0);
  writer.uint32(xid);
  writer.uint32(RpcMessageType.CALL);
  writer.uint32(2);
  writer.uint32(program);
  writer.uint32(CALLBACK_VERSION);
  writer.uint32(procedure);
  writer.fixed(credential);
  writer.uint32(AuthFlavor.NONE);
  writer.uint32(0);
}

/** Appends CB_COMPOUND4args up to the operations. `ident` is NFSv4.0's callback_ident. */
export function beginCompound(writer: XdrWriter, minorVersion: number, ident: number, count: number): void {
  writer.uint32(0);
  writer.uint32(minorVersion);
  writer.uint32(ident);
  writer.uint32(count);
}

/** The whole record. The writer must not be used again. */
export function finishCall(writer: XdrWriter): Uint8Array {
  writer.patch(0, (0x8000_0000 | (writer.position - 4)) >>> 0);
  return writer.buffer.subarray(0, writer.position);
}

/** Reads an RPC reply after its message type. False if the call was denied or not carried out. */
export function readAccepted(reader: XdrReader): boolean {
  if (reader.uint32() !== 0) {
    return false;
  }
  reader.uint32();
  reader.skip(reader.length(MAXIMUM_AUTH));
  return reader.uint32() === 0;
}

/** Reads CB_COMPOUND4res up to the results, and returns how many there are. */
export function readCompound(reader: XdrReader): number {
  reader.uint32();
  reader.skip(reader.length(MAXIMUM_TAG));
  return reader.uint32();
}
