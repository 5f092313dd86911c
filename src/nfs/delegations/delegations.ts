import type { XdrWriter } from "../../xdr/index.ts";
import type { AttributeRequest } from "../attributes/request.ts";
import type { Callbacks } from "../callback/callbacks.ts";
import {
  type Attributes,
  FileType,
  isDelegable,
  MAXIMUM_FILE_SIZE,
  type MaybePromise,
  type Node,
  type RegularFile,
} from "../file-system.ts";
import { DelegationType, Share, Want, WhyNoDelegation } from "../protocol/constants.ts";
import { Status } from "../protocol/status.ts";
import {
  type Client,
  Delegation,
  type FileState,
  type GivenAttributes,
  type OpenState,
} from "../state/records.ts";
import type { ServerState } from "../state/server-state.ts";
import type { StateidArgument } from "../state/stateid.ts";

import { attributesFromHolder, mayKnowBetter } from "./delegated-attributes.ts";
import { RecentRecalls } from "./recent-recalls.ts";

const LIMIT_BY_SIZE = 1;
/** The wants to which a refusal gives a reason. */
const ASKS =
  Want.MASK | Want.SIGNAL_DELEGATION_WHEN_RESOURCE_AVAILABLE | Want.PUSH_DELEGATION_WHEN_UNCONTENDED;
/** The holder of a READ delegation that does not keep the times answers for nothing. */
const NOTHING: GivenAttributes = {
  change: 0,
  accessTime: { seconds: 0, nanoseconds: 0 },
  modifyTime: { seconds: 0, nanoseconds: 0 },
};

/** How long a request waits for its own client to return a delegation. Linux takes some milliseconds. */
const RETURN_MILLISECONDS = 1000;

/** Delegations per client, revoked ones that it has not freed included. Linux keeps up to 5000 unused. */
const MAXIMUM_PER_CLIENT = 16_384;

/**
 * When delegations are given, recalled and revoked (RFC 8881 §10.4).
 *
 * Immutable files are delegated for reading to everybody. They never change; but a client that holds a delegation
 * does not look up the file's names again, and would not notice another file in its place. So the other clients'
 * delegations are recalled before the file loses a name, and the caller's as well before a change is refused.
 */
export class Delegations {
  readonly #state: ServerState;
  readonly #callbacks: Callbacks;
  /** Whether delegations are given at all. */
  readonly enabled: boolean;
  readonly #recalled = new RecentRecalls();

  constructor(state: ServerState, callbacks: Callbacks, enabled: boolean) {
    this.#state = state;
    this.#callbacks = callbacks;
    this.enabled = enabled;
  }

  /**
   * OK, or DELAY while delegations are recalled so that the file may change: those of other clients, or all if the
   * file is immutable.
   */
  recallForChange(caller: Client | undefined, file: RegularFile): Status {
    return this.#recall(caller, file, isAny, file.immutable);
  }

  /**
   * As {@link recallForChange}; but if nobody but the caller has the file delegated, waits a while until it has returned
   * that. Where Linux asks for a change without doing so by itself, as for truncate(2), it would repeat what is answered
   * DELAY only after 100 ms.
   */
  async recalledForChange(caller: Client | undefined, file: RegularFile): Promise<Status> {
    const status = this.recallForChange(caller, file);
    const held = this.#state.findFile(file)?.delegations ?? [];
    const [own] = held;
    if (status !== Status.DELAY || own?.client !== caller || held.length > 1) {
      return status;
    }
    return (await endsInTime(own)) ? this.recallForChange(caller, file) : status;
  }

  /**
   * OK, or DELAY while other clients' delegations are recalled so that the file may lose a name, or a writable copy
   * may take its place there.
   */
  recallForRemoval(caller: Client | undefined, file: RegularFile): Status {
    return this.#recall(caller, file, isAny);
  }

  /** OK, or DELAY while the delegation of another client, which may have written data, is recalled. */
  recallForRead(caller: Client | undefined, file: RegularFile): Status {
    return this.#recall(caller, file, isForWriting);
  }

  /** OK, or DELAY while the delegations that an OPEN conflicts with are recalled. */
  recallForOpen(caller: Client | undefined, file: RegularFile, access: number, deny: number): Status {
    const writes = (access & Share.WRITE) !== 0 || (deny & Share.READ) !== 0;
    return this.#recall(caller, file, writes ? isAny : isForWriting);
  }

  #recall(
    caller: Client | undefined,
    file: RegularFile,
    conflicts: (delegation: Delegation) => boolean,
    ownToo = false,
  ): Status {
    const state = this.#state;
    if ((file.immutable ? state.delegations : state.mutableDelegations) === 0) {
      return Status.OK;
    }
    let status: Status = Status.OK;
    for (const delegation of [...(state.findFile(file)?.delegations ?? [])]) {
      if ((delegation.client === caller && !ownToo) || !conflicts(delegation)) {
        continue;
      }
      // The client's lease had run out, so the delegation is gone.
      if (state.clients.resolveConflict(delegation.client)) {
        continue;
      }
      if (delegation.recalledAt === undefined) {
        delegation.recalledAt = state.now;
        this.#recalled.add(delegation.file.key, state.now);
      } else if (state.now - delegation.recalledAt > state.leaseMilliseconds) {
        state.revokeDelegation(delegation);
        continue;
      }
      this.#callbacks.recall(delegation);
      status = Status.DELAY;
    }
    return status;
  }

  /**
   * The node's attributes, as far as `request` asks for them: if the holder of a WRITE delegation knows them better,
   * as it gives them. DELAY while the delegation is recalled because its holder did not answer.
   */
  attributesOf(
    node: Node,
    request: AttributeRequest,
    caller: Client | undefined,
  ): MaybePromise<Attributes | Status> {
    if (this.#state.mutableDelegations === 0 || node.type !== FileType.REGULAR) {
      return node.attributes();
    }
    const holder = this.#state
      .findFile(node)
      ?.delegations?.find(({ type, client }) => type === Share.WRITE && client !== caller);
    if (holder === undefined || !mayKnowBetter(holder, request)) {
      return node.attributes();
    }
    if (holder.recalledAt !== undefined) {
      return this.#attributesAfterRecall(node, caller);
    }
    return attributesFromHolder(this.#callbacks, holder).then(
      (attributes) => attributes ?? this.#attributesAfterRecall(node, caller),
    );
  }

  #attributesAfterRecall(file: RegularFile, caller: Client | undefined): Attributes | Status {
    const recalled = this.recallForRead(caller, file);
    return recalled === Status.OK ? file.attributes() : recalled;
  }

  /** Gives the client of an OPEN the delegation that it may have; {@link write} then tells the client. */
  grant(open: OpenState, access: number, want: number): Delegation | undefined {
    // NFSv4.0: the request may be a late repetition of an old one.
    if (open.client.minorVersion === 0 && !open.owner.confirmed) {
      return undefined;
    }
    return this.give(open.client, open.file.node, open.file, access, want);
  }

  /**
   * Gives a delegation as `want` asks, to go with the Share bits `access`; returns undefined if something is in the
   * way. `file` is the node's state, undefined if it is neither open nor delegated.
   */
  give(
    client: Client,
    node: RegularFile,
    file: FileState | undefined,
    access: number,
    want: number,
  ): Delegation | undefined {
    let type = typeFor(client, access, want);
    if (type === Share.NONE) {
      return undefined;
    }
    if (this.#obstacle(client, node, file, type, want) !== undefined) {
      if (type === Share.READ || (want & Want.MASK) !== Want.ANY_DELEGATION) {
        return undefined;
      }
      type = Share.READ;
      if (this.#obstacle(client, node, file, type, want) !== undefined) {
        return undefined;
      }
    }
    const timestamps = (want & Want.DELEGATED_TIMESTAMPS) !== 0 && !node.immutable;
    if (type === Share.READ && !timestamps) {
      return this.#state.delegate(client, node, type, false, NOTHING);
    }
    const { change, accessTime, modifyTime } = node.attributes();
    const given = { change, accessTime: { ...accessTime }, modifyTime: { ...modifyTime } };
    return this.#state.delegate(client, node, type, timestamps, given);
  }

  /** Why the client cannot have a delegation of `type` (why_no_delegation4); undefined if it can. */
  #obstacle(
    client: Client,
    node: RegularFile,
    file: FileState | undefined,
    type: number,
    want: number,
  ): number | undefined {
    const wanted = want & Want.MASK;
    if (wanted === Want.NO_DELEGATION) {
      return WhyNoDelegation.NOT_WANTED;
    }
    if (wanted === Want.CANCEL) {
      return WhyNoDelegation.CANCELLED;
    }
    if (!this.enabled || client.delegations.size + client.revoked.size >= MAXIMUM_PER_CLIENT) {
      return WhyNoDelegation.RESOURCE;
    }
    if (!this.#callbacks.canReach(client)) {
      return WhyNoDelegation.RESOURCE;
    }
    if (!isDelegable(node)) {
      return WhyNoDelegation.NOT_SUPP_FTYPE;
    }
    if (node.immutable && type === Share.WRITE) {
      return WhyNoDelegation.WRITE_DELEG_NOT_SUPP_FTYPE;
    }
    if (file === undefined) {
      return undefined;
    }
    const own = file.delegations?.find((delegation) => delegation.client === client);
    if (own !== undefined && own.type < type) {
      return WhyNoDelegation.NOT_SUPP_UPGRADE;
    }
    if (own !== undefined && own.type > type) {
      return WhyNoDelegation.NOT_SUPP_DOWNGRADE;
    }
    if (own !== undefined) {
      return WhyNoDelegation.RESOURCE;
    }
    const contended =
      type === Share.WRITE
        ? file.delegations !== undefined || file.opens.some((open) => open.client !== client)
        : file.delegations?.some(isForWriting) === true ||
          file.opens.some((open) => open.client !== client && excludesReaders(open));
    return contended || this.#recalled.has(file.key, this.#state.now)
      ? WhyNoDelegation.CONTENTION
      : undefined;
  }

  /** Appends open_delegation4: the delegation, or why there is none. The other parameters are those of {@link give}. */
  write(
    writer: XdrWriter,
    delegation: Delegation | undefined,
    client: Client,
    node: RegularFile,
    access: number,
    want: number,
  ): void {
    if (delegation !== undefined) {
      writeDelegation(writer, this.#state.instance, delegation);
      return;
    }
    if ((want & ASKS) === 0) {
      writer.uint32(DelegationType.NONE);
      return;
    }
    const type = typeFor(client, access, want);
    const file = this.#state.findFile(node);
    const why = this.#obstacle(client, node, file, type, want) ?? WhyNoDelegation.RESOURCE;
    writer.uint32(DelegationType.NONE_EXT);
    writer.uint32(why);
    // The server will not call when the delegation becomes available.
    if (why === WhyNoDelegation.CONTENTION || why === WhyNoDelegation.RESOURCE) {
      writer.bool(false);
    }
  }

  /** FREE_STATEID of a revoked delegation. */
  free({ word1, word2 }: StateidArgument): Status {
    const state = this.#state.states.get(word1, word2);
    if (!(state instanceof Delegation) || !state.revoked) {
      return Status.BAD_STATEID;
    }
    this.#state.freeRevoked(state);
    return Status.OK;
  }
}

/** Whether the delegation, which is being recalled, is returned so soon that a request may wait for it. */
async function endsInTime(delegation: Delegation): Promise<boolean> {
  const { promise: late, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(resolve, RETURN_MILLISECONDS, false);
  try {
    return await Promise.race([delegation.ended.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}

function isAny(): boolean {
  return true;
}

function isForWriting(delegation: Delegation): boolean {
  return delegation.type === Share.WRITE;
}

/** Whether another client's open rules out a READ delegation. */
function excludesReaders({ access, deny }: OpenState): boolean {
  return (access & Share.WRITE) !== 0 || (deny & Share.READ) !== 0;
}

/** The type that `want` leads to if nothing is in the way: Share.READ, Share.WRITE or Share.NONE. */
function typeFor(client: Client, access: number, want: number): number {
  const wanted = want & Want.MASK;
  if ((access & Share.WRITE) === 0 || wanted === Want.READ_DELEGATION) {
    return Share.READ;
  }
  if (wanted === Want.WRITE_DELEGATION || wanted === Want.ANY_DELEGATION) {
    return Share.WRITE;
  }
  // NFSv4.0 cannot ask.
  return client.minorVersion === 0 ? Share.WRITE : Share.NONE;
}

/** Appends the open_delegation4 of a delegation that is given. `instance` begins the server's stateids. */
function writeDelegation(writer: XdrWriter, instance: number, delegation: Delegation): void {
  const writes = delegation.type === Share.WRITE;
  if (delegation.timestamps) {
    writer.uint32(writes ? DelegationType.WRITE_ATTRIBUTES : DelegationType.READ_ATTRIBUTES);
  } else {
    writer.uint32(writes ? DelegationType.WRITE : DelegationType.READ);
  }
  writer.uint32(delegation.seqid);
  writer.uint32(instance);
  writer.uint32(delegation.index);
  writer.uint32(delegation.generation);
  writer.bool(false);
  if (writes) {
    writer.uint32(LIMIT_BY_SIZE);
    writer.uint64(MAXIMUM_FILE_SIZE);
  }
  // An ACE that allows nobody anything, so that the client asks with ACCESS.
  writer.uint32(0);
  writer.uint32(0);
  writer.uint32(0);
  writer.latin1("");
}
