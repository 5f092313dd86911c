import { XdrError, type XdrReader } from "../../xdr/index.ts";
import type { Compound } from "../compound/compound.ts";
import { ExchangeFlag, MAXIMUM_OPAQUE } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import type { Client } from "../state/records.ts";

const KNOWN_FLAGS =
  (ExchangeFlag.SUPP_MOVED_REFER |
    ExchangeFlag.SUPP_MOVED_MIGR |
    ExchangeFlag.BIND_PRINC_STATEID |
    ExchangeFlag.USE_NON_PNFS |
    ExchangeFlag.USE_PNFS_MDS |
    ExchangeFlag.USE_PNFS_DS |
    ExchangeFlag.UPD_CONFIRMED_REC_A) >>>
  0;
const SP4_NONE = 0;
const SP4_MACH_CRED = 1;
const SP4_SSV = 2;

/** RFC 8881 §18.35. */
export function exchangeId(compound: Compound): Status {
  const { reader, context, principal, connection } = compound;
  const { state } = context;
  const verifierHigh = reader.uint32();
  const verifierLow = reader.uint32();
  const given = reader.latin1(MAXIMUM_OPAQUE);
  // With a gate, nobody can share, replace or end another's record by claiming to be the same owner.
  const owner = context.gate === undefined ? given : `${connection.name} ${given}`;
  const flags = reader.uint32();
  const protection = readProtection(reader);
  const implementations = reader.length(1);
  for (let index = 0; index < implementations; index++) {
    reader.skip(reader.length(MAXIMUM_OPAQUE));
    reader.skip(reader.length(MAXIMUM_OPAQUE));
    reader.skip(12);
  }
  if ((flags & ~KNOWN_FLAGS) !== 0) {
    return Status.INVAL;
  }
  if (protection === SP4_SSV) {
    return Status.ENCR_ALG_UNSUPP;
  }
  // Machine credentials need RPCSEC_GSS, which we do not have.
  if (protection !== SP4_NONE) {
    return Status.INVAL;
  }

  const known = state.clients.findByOwner(1, owner, true);
  const same =
    known !== undefined && known.verifierHigh === verifierHigh && known.verifierLow === verifierLow;
  if ((flags & ExchangeFlag.UPD_CONFIRMED_REC_A) !== 0) {
    if (known === undefined) {
      return Status.NOENT;
    }
    if (!same) {
      return Status.NOT_SAME;
    }
    if (known.principal !== principal) {
      return Status.PERM;
    }
    return answer(compound, known);
  }
  if (known !== undefined && known.principal !== principal) {
    if (known.hasState && !state.clients.isExpired(known)) {
      return Status.CLID_INUSE;
    }
    state.clients.remove(known);
  } else if (same) {
    known.renewedAt = state.now;
    return answer(compound, known);
  }
  // Another verifier means that the client has restarted: CREATE_SESSION will end what it had before.
  if (!connection.mayMakeClient) {
    return Status.DELAY;
  }
  const client = state.clients.add({ minorVersion: 1, owner, verifierHigh, verifierLow, principal });
  if (client === undefined) {
    return Status.DELAY;
  }
  connection.addClient(client);
  return answer(compound, client);
}

/** Reads state_protect4_a and returns how the client wants its state protected. */
function readProtection(reader: XdrReader): number {
  const how = reader.uint32();
  if (how === SP4_NONE) {
    return how;
  }
  if (how > SP4_SSV) {
    throw new XdrError(`expected a state_protect_how4, got ${how}`);
  }
  for (let bitmap = 0; bitmap < 2; bitmap++) {
    reader.skip(4 * reader.length(64));
  }
  if (how === SP4_MACH_CRED) {
    return how;
  }
  for (let list = 0; list < 2; list++) {
    const algorithms = reader.length(64);
    for (let index = 0; index < algorithms; index++) {
      reader.skip(reader.length(MAXIMUM_OPAQUE));
    }
  }
  reader.skip(8);
  return how;
}

function answer(compound: Compound, client: Client): Status {
  const { writer, context } = compound;
  const { state } = context;
  writer.uint32(state.instance);
  writer.uint32(client.id);
  writer.uint32(client.createSequence);
  writer.uint32((ExchangeFlag.USE_NON_PNFS | (client.confirmed ? ExchangeFlag.CONFIRMED_R : 0)) >>> 0);
  writer.uint32(SP4_NONE);
  // Owner and scope are this instance's own: a client must not take two servers on one host for one.
  writer.uint64(0);
  writer.opaque(state.verifier);
  writer.opaque(state.verifier);
  writer.uint32(0);
  return Status.OK;
}
