import type { Callbacks } from "./callback/callbacks.ts";
import type { Compound } from "./compound.ts";
import { isDelegable, type RegularFile } from "./file-system.ts";
import type { OpenArguments } from "./open-arguments.ts";
import { DelegationType, Share, Want, WhyNoDelegation } from "./protocol/constants.ts";
import { Status } from "./protocol/status.ts";
import type { ServerState } from "./state/server-state.ts";
import { Delegation, type OpenState } from "./state/states.ts";

const LIMIT_BY_SIZE = 1;

/** A client that holds so many gets no more. Linux keeps 5000 that it does not use. */
const MAXIMUM_PER_CLIENT = 16_384;

/**
 * When delegations are given, recalled and revoked (RFC 8881 §10.4).
 *
 * Immutable files are delegated for reading to everybody. They never change, so that the only reason to recall one
 * is a change that will be refused: a client that holds a delegation would not look up the file's name again, and
 * not find what may stand there in place of it.
 */
export class Delegations {
  private readonly state: ServerState;
  private readonly callbacks: Callbacks;
  private readonly enabled: boolean;
  private readonly recalled = new RecentRecalls();

  constructor(state: ServerState, callbacks: Callbacks, enabled: boolean) {
    this.state = state;
    this.callbacks = callbacks;
    this.enabled = enabled;
  }

  /**
   * OK, or DELAY while delegations are called back so that the file may change: those of other clients; of an
   * immutable file, all.
   */
  recallForChange(compound: Compound, file: RegularFile): Status {
    return this.recall(compound, file, () => true);
  }

  /** OK, or DELAY while delegations of other clients are called back so that the file may lose a name. */
  recallForRemoval(compound: Compound, file: RegularFile): Status {
    return file.immutable ? Status.OK : this.recallForChange(compound, file);
  }

  /** OK, or DELAY while the delegation of another client, which alone knows the attributes, is called back. */
  recallForAttributes(compound: Compound, file: RegularFile): Status {
    return this.recall(compound, file, (delegation) => delegation.type === Share.WRITE);
  }

  /** OK, or DELAY while delegations that an OPEN conflicts with are called back. */
  recallForOpen(compound: Compound, file: RegularFile, access: number, deny: number): Status {
    const writes = (access & Share.WRITE) !== 0 || (deny & Share.READ) !== 0;
    return this.recall(compound, file, (delegation) => writes || delegation.type === Share.WRITE);
  }

  private recall(
    compound: Compound,
    file: RegularFile,
    conflicts: (delegation: Delegation) => boolean,
  ): Status {
    const { state } = this;
    if ((file.immutable ? state.delegations : state.mutableDelegations) === 0) return Status.OK;
    let status: Status = Status.OK;
    for (const delegation of [...(state.findFile(file)?.delegations ?? [])]) {
      if ((delegation.client === compound.client && !file.immutable) || !conflicts(delegation)) continue;
      if (delegation.recalledAt === undefined) {
        delegation.recalledAt = state.now;
        this.recalled.add(delegation.file.key, state.now);
      } else if (state.now - delegation.recalledAt > state.leaseMilliseconds) {
        state.revokeDelegation(delegation);
        continue;
      }
      this.callbacks.recall(delegation);
      status = Status.DELAY;
    }
    return status;
  }

  /** Appends open_delegation4 to OPEN's result. */
  grant(compound: Compound, open: OpenState, args: OpenArguments): void {
    const { writer, context } = compound;
    const type = this.typeFor(compound, open, args);
    if (type === Share.NONE) {
      this.refuse(compound, args);
      return;
    }
    const delegation = this.state.delegate(open.client, open.file.node, type);
    writer.uint32(type === Share.WRITE ? DelegationType.WRITE : DelegationType.READ);
    writer.uint32(delegation.seqid);
    writer.uint32(context.state.instance);
    writer.uint32(delegation.index);
    writer.uint32(delegation.generation);
    writer.bool(false);
    if (type === Share.WRITE) {
      writer.uint32(LIMIT_BY_SIZE);
      writer.uint64(Number.MAX_SAFE_INTEGER);
    }
    // An ACE that allows nobody anything: the client asks with ACCESS.
    writer.uint32(0);
    writer.uint32(0);
    writer.uint32(0);
    writer.latin1("");
  }

  /** What to give: Share.READ, Share.WRITE or Share.NONE. */
  private typeFor(compound: Compound, open: OpenState, args: OpenArguments): number {
    const { client, file } = open;
    if (!this.enabled || compound.minorVersion === 0 || !isDelegable(file.node)) return Share.NONE;
    if (!this.callbacks.canReach(client) || client.delegations.size >= MAXIMUM_PER_CLIENT) return Share.NONE;
    const want = args.want & Want.MASK;
    if (want === Want.NO_DELEGATION || want === Want.CANCEL) return Share.NONE;
    if (file.delegations?.some((delegation) => delegation.client === client)) return Share.NONE;
    if (this.recalled.has(file.key, this.state.now)) return Share.NONE;
    const writes = (args.access & Share.WRITE) !== 0;
    const others = file.opens.filter((opened) => opened.client !== client);
    if (writes) {
      const asked = want === Want.WRITE_DELEGATION || want === Want.ANY_DELEGATION;
      return asked && others.length === 0 && file.delegations === undefined ? Share.WRITE : Share.NONE;
    }
    return others.some((opened) => (opened.access & Share.WRITE) !== 0) ? Share.NONE : Share.READ;
  }

  private refuse(compound: Compound, args: OpenArguments): void {
    const { writer } = compound;
    if (args.want === Want.NO_PREFERENCE) {
      writer.uint32(DelegationType.NONE);
      return;
    }
    writer.uint32(DelegationType.NONE_EXT);
    if ((args.want & Want.MASK) === Want.NO_DELEGATION) writer.uint32(WhyNoDelegation.NOT_WANTED);
    else if ((args.want & Want.MASK) === Want.CANCEL) writer.uint32(WhyNoDelegation.CANCELLED);
    else {
      writer.uint32(this.enabled ? WhyNoDelegation.CONTENTION : WhyNoDelegation.RESOURCE);
      writer.bool(false);
    }
  }

  /** FREE_STATEID of a delegation that was revoked. */
  free(compound: Compound): Status {
    const { word1, word2 } = compound.stateid;
    const state = this.state.states.get(word1, word2);
    if (!(state instanceof Delegation) || !state.revoked) return Status.BAD_STATEID;
    this.state.freeRevoked(state);
    return Status.OK;
  }
}

/** How long a file gets no new delegation after a recall, at least; at most twice as long. */
const QUIET_MILLISECONDS = 30_000;

/**
 * The files whose delegations were recalled lately. They are contended; and a client that waits for a recall must
 * not find that others have got delegations again.
 */
class RecentRecalls {
  private recent = new Set<string>();
  private older = new Set<string>();
  private since = 0;

  add(file: string, now: number): void {
    this.turn(now);
    this.recent.add(file);
  }

  has(file: string, now: number): boolean {
    if (this.recent.size === 0 && this.older.size === 0) return false;
    this.turn(now);
    return this.recent.has(file) || this.older.has(file);
  }

  private turn(now: number): void {
    if (now - this.since < QUIET_MILLISECONDS) return;
    this.older = now - this.since < 2 * QUIET_MILLISECONDS ? this.recent : new Set();
    this.recent = new Set();
    this.since = now;
  }
}
