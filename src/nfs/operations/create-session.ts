import { XdrError, type XdrReader, type XdrWriter } from "../../xdr/index.ts";
import type { ChannelAttributes } from "../callback/back-channel.ts";
import type { Compound } from "../compound/compound.ts";
import { AuthFlavor, MAXIMUM_IO, MAXIMUM_OPAQUE, SessionFlag } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import type { ServerContext } from "../server-context.ts";
import type { BackChannelArguments } from "../state/clients.ts";
import type { Client, Session } from "../state/records.ts";

const KNOWN_FLAGS = SessionFlag.PERSIST | SessionFlag.CONN_BACK_CHAN | SessionFlag.CONN_RDMA;
const RPCSEC_GSS = 6;
/** A channel must carry SEQUENCE and something after it. */
const MINIMUM_SIZE = 256;
const MAXIMUM_OPERATIONS = 128;
/** Bytes of a reply that a slot keeps. */
const MAXIMUM_CACHED = 8 * 1024;
/** Calls that may be under way on one back channel. */
const MAXIMUM_BACK_SLOTS = 16;

/** RFC 8881 §18.36. */
export function createSession(compound: Compound): Status {
  const { reader, context, principal, connection } = compound;
  const { state } = context;
  const clientHigh = reader.uint32();
  const clientLow = reader.uint32();
  const sequence = reader.uint32();
  const wanted: Wanted = {
    flags: reader.uint32(),
    fore: readChannel(reader),
    back: { attributes: readChannel(reader), program: reader.uint32(), credential: readSecurity(reader) },
  };

  const client = state.clients.find(clientHigh, clientLow);
  if (client === undefined || client.minorVersion === 0) {
    return Status.STALE_CLIENTID;
  }
  if (context.gate !== undefined && !connection.speaksFor(client)) {
    return Status.STALE_CLIENTID;
  }
  if (sequence === (client.createSequence - 1) >>> 0 && client.createReply !== undefined) {
    compound.writer.raw(client.createReply.subarray(4));
    return client.createReply.readUInt32BE(0);
  }
  if (sequence !== client.createSequence) {
    return Status.SEQ_MISORDERED;
  }
  if (!client.confirmed && client.principal !== principal) {
    return Status.CLID_INUSE;
  }
  const resultAt = compound.writer.position;
  const status = make(compound, client, sequence, wanted);
  if (status !== Status.INVAL && status !== Status.TOOSMALL) {
    client.createSequence = (sequence + 1) >>> 0;
    const result = compound.writer.buffer.subarray(resultAt, compound.writer.position);
    const reply = Buffer.alloc(4 + result.length);
    reply.writeUInt32BE(status, 0);
    reply.set(result, 4);
    client.createReply = reply;
  }
  return status;
}

/** What the client asks of a session. */
interface Wanted {
  readonly flags: number;
  readonly fore: ChannelAttributes;
  readonly back: BackChannelArguments;
}

function make(compound: Compound, client: Client, sequence: number, { flags, fore, back }: Wanted): Status {
  const { context, writer, connection } = compound;
  const { state } = context;
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    return Status.INVAL;
  }
  for (const { maxRequestSize, maxResponseSize, maxOperations, maxRequests } of [fore, back.attributes]) {
    if (maxRequestSize < MINIMUM_SIZE || maxResponseSize < MINIMUM_SIZE) {
      return Status.TOOSMALL;
    }
    if (maxOperations === 0 || maxRequests === 0) {
      return Status.INVAL;
    }
  }
  if (!state.clients.mayAddSession(client)) {
    return Status.NOSPC;
  }
  state.clients.confirm(client);
  client.renewedAt = state.now;
  const maxRequests = Math.min(back.attributes.maxRequests, MAXIMUM_BACK_SLOTS);
  const session = state.clients.addSession(client, compound.minorVersion, limit(fore, context), {
    ...back,
    attributes: { ...back.attributes, maxRequests },
  });
  connection.addSession(session);
  let granted = 0;
  if ((flags & SessionFlag.CONN_BACK_CHAN) !== 0) {
    granted |= SessionFlag.CONN_BACK_CHAN;
    session.backChannel.bind(connection);
  }
  writeSession(writer, session, sequence, granted);
  return Status.OK;
}

function writeSession(writer: XdrWriter, session: Session, sequence: number, flags: number): void {
  writer.fixed(session.id);
  writer.uint32(sequence);
  writer.uint32(flags);
  writeChannel(writer, session.fore);
  writeChannel(writer, session.backChannel.attributes);
}

function limit(wanted: ChannelAttributes, context: ServerContext): ChannelAttributes {
  const room = Math.min(context.maximumRecord, MAXIMUM_IO + 4096);
  const maxResponseSize = Math.min(wanted.maxResponseSize, room);
  return {
    maxRequestSize: Math.min(wanted.maxRequestSize, room),
    maxResponseSize,
    maxResponseSizeCached: Math.min(wanted.maxResponseSizeCached, maxResponseSize, MAXIMUM_CACHED),
    maxOperations: Math.min(wanted.maxOperations, MAXIMUM_OPERATIONS),
    maxRequests: Math.min(wanted.maxRequests, context.limits.maximumSlots),
  };
}

function readChannel(reader: XdrReader): ChannelAttributes {
  reader.uint32();
  const channel = {
    maxRequestSize: reader.uint32(),
    maxResponseSize: reader.uint32(),
    maxResponseSizeCached: reader.uint32(),
    maxOperations: reader.uint32(),
    maxRequests: reader.uint32(),
  };
  reader.skip(4 * reader.length(1));
  return channel;
}

function writeChannel(writer: XdrWriter, channel: ChannelAttributes): void {
  writer.uint32(0);
  writer.uint32(channel.maxRequestSize);
  writer.uint32(channel.maxResponseSize);
  writer.uint32(channel.maxResponseSizeCached);
  writer.uint32(channel.maxOperations);
  writer.uint32(channel.maxRequests);
  writer.uint32(0);
}

/**
 * Reads csa_sec_parms and returns flavor and body of the credentials that callbacks will carry: the first that we
 * support, or AUTH_NONE if there is none.
 */
export function readSecurity(reader: XdrReader): Buffer {
  const count = reader.length(16);
  let chosen: Buffer | undefined;
  for (let index = 0; index < count; index++) {
    const flavor = reader.uint32();
    const start = reader.position;
    if (flavor === AuthFlavor.SYS) {
      reader.uint32();
      reader.skip(reader.length(255));
      reader.skip(8);
      reader.skip(4 * reader.length(16));
    } else if (flavor === RPCSEC_GSS) {
      reader.uint32();
      reader.skip(reader.length(MAXIMUM_OPAQUE));
      reader.skip(reader.length(MAXIMUM_OPAQUE));
      continue;
    } else if (flavor !== AuthFlavor.NONE) {
      throw new XdrError(`expected a security flavor for callbacks, got ${flavor}`);
    }
    chosen ??= credential(flavor, reader.buffer.subarray(start, reader.position));
  }
  return chosen ?? credential(AuthFlavor.NONE, Buffer.alloc(0));
}

/** opaque_auth; the body's length is a multiple of 4. */
function credential(flavor: number, body: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt32BE(flavor, 0);
  header.writeUInt32BE(body.length, 4);
  return Buffer.concat([header, body]);
}
