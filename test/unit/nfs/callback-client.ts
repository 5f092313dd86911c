import { on } from "node:events";
import { type XdrReader, XdrWriter } from "../../../src/xdr/index.ts";
import { readerOf, type TestConnection } from "./client.ts";

export const CallbackOperation = { GETATTR: 3, RECALL: 4, SEQUENCE: 11, NOTIFY_LOCK: 13 } as const;

/** What takes the reply to a call. */
export interface Replier {
  send(xid: number, message: Buffer): void;
}

/** A CB_COMPOUND of the server's: CB_SEQUENCE, where it has one, and the operation behind it. */
export interface CallbackRequest {
  readonly connection: Replier;
  readonly xid: number;
  readonly program: number;
  readonly minorVersion: number;
  readonly ident: number;
  readonly sessionId: Buffer;
  readonly sequenceid: number;
  readonly slotid: number;
  readonly operation: number;
  /** At the operation's arguments. */
  readonly reader: XdrReader;
}

/** The calls that the server makes by the connection, in their order. */
export async function* callbacksOn(connection: TestConnection): AsyncGenerator<CallbackRequest> {
  for await (const [message] of on(connection.callbacks, "call")) {
    yield parseCallback(connection, message as Buffer);
  }
}

export function parseCallback(connection: Replier, message: Buffer): CallbackRequest {
  const reader = readerOf(message);
  const xid = reader.uint32();
  reader.skip(8);
  const program = reader.uint32();
  reader.skip(8);
  for (let auth = 0; auth < 2; auth++) {
    reader.uint32();
    reader.skip(reader.length(400));
  }
  reader.skip(reader.length(1024));
  const minorVersion = reader.uint32();
  const ident = reader.uint32();
  let count = reader.uint32();
  let operation = reader.uint32();
  let sessionId = Buffer.alloc(0);
  let sequenceid = 0;
  let slotid = 0;
  if (operation === CallbackOperation.SEQUENCE) {
    sessionId = Buffer.from(reader.fixed(16));
    sequenceid = reader.uint32();
    slotid = reader.uint32();
    reader.skip(12);
    count--;
    operation = reader.uint32();
  }
  if (count !== 1) {
    throw new Error(`expected one operation, got ${count}`);
  }
  return {
    connection,
    xid,
    program,
    minorVersion,
    ident,
    sessionId,
    sequenceid,
    slotid,
    operation,
    reader,
  };
}

/** Answers a call with the status of its operation and, behind it, what `write` appends. */
export function answerCallback(
  request: CallbackRequest,
  status: number,
  write?: (writer: XdrWriter) => void,
  sequenceStatus = 0,
): void {
  const writer = new XdrWriter(512);
  const sequenced = request.sessionId.length > 0;
  for (const word of [1, 0, 0, 0, 0, sequenceStatus === 0 ? status : sequenceStatus, 0]) {
    writer.uint32(word);
  }
  writer.uint32(sequenced ? (sequenceStatus === 0 ? 2 : 1) : 1);
  if (sequenced) {
    writer.uint32(CallbackOperation.SEQUENCE);
    writer.uint32(sequenceStatus);
    if (sequenceStatus === 0) {
      writer.fixed(request.sessionId);
      for (const word of [request.sequenceid, request.slotid, 15, 15]) {
        writer.uint32(word);
      }
    }
  }
  if (sequenceStatus === 0) {
    writer.uint32(request.operation);
    writer.uint32(status);
    write?.(writer);
  }
  request.connection.send(request.xid, Buffer.from(writer.buffer.subarray(0, writer.position)));
}
