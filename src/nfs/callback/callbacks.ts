import { takeReady } from "../state/lock-waiters.ts";
import type { Client, Delegation, FileState } from "../state/records.ts";

import type { CallbackPath } from "./call.ts";
import { CallbackProgram } from "./callback-program.ts";
import { GetAttributes, type HoldersAttributes } from "./get-attributes.ts";
import { NotifyLock } from "./notify-lock.ts";
import { Recall } from "./recall.ts";
import { portAt } from "./universal-address.ts";

/**
 * How long another client's request waits for the holder of a delegation to give the file's attributes. After that
 * the delegation is recalled.
 */
const ATTRIBUTES_MILLISECONDS = 1000;
/** How long a client that did not answer is not asked again: it may hold many files of one directory. */
const SILENT_MILLISECONDS = 10_000;

/** NFSv4.0 callback programs that the server keeps connections to. */
const MAXIMUM_PROGRAMS = 256;

/** The server's calls to its clients (RFC 8881 §20), each over whichever path to the client is up. */
export class Callbacks {
  /** First word of the server's stateids. */
  readonly #instance: number;
  readonly #programs = new Set<CallbackProgram>();

  constructor(instance: number) {
    this.#instance = instance;
  }

  /**
   * NFSv4.0: the client's callback program if SETCLIENTID named one at the client's own `host`; otherwise undefined,
   * so that no client can make the server connect to another host.
   */
  programOf(client: Client, host: string): CallbackProgram | undefined {
    const port = portAt(host, client.callbackNetid, client.callbackAddress);
    if (port === undefined || this.#programs.size >= MAXIMUM_PROGRAMS) {
      return undefined;
    }
    const program = new CallbackProgram(host, port, client.callbackProgram, client.callbackIdent, () =>
      this.#programs.delete(program),
    );
    this.#programs.add(program);
    return program;
  }

  /** Whether the client can be called right now. */
  canReach(client: Client): boolean {
    return pathTo(client) !== undefined;
  }

  /**
   * Asks the client to return the delegation, again if an earlier call failed. The time to return it runs even
   * without a path to the client.
   */
  recall(delegation: Delegation): void {
    const recall = delegation.recall ?? new Recall(delegation, this.#instance);
    delegation.recall = recall;
    if (recall.underWay || recall.answeredForGood) {
      return;
    }
    const path = pathTo(delegation.client);
    if (path === undefined) {
      return;
    }
    recall.underWay = true;
    path.send(recall);
  }

  /** Tells those clients whose awaited locks on the file are now free. */
  notifyLocks(file: FileState): void {
    for (const waiter of takeReady(file)) {
      pathTo(waiter.client)?.send(new NotifyLock(file.node.handle, waiter, this.#instance));
    }
  }

  /** Asks the holder for the attributes; undefined if it answers late or nonsense, or lately failed to answer. */
  attributes(delegation: Delegation): Promise<HoldersAttributes | undefined> {
    const { promise, resolve } = Promise.withResolvers<HoldersAttributes | undefined>();
    const { client } = delegation;
    const path = pathTo(client);
    if (path === undefined || performance.now() < client.silentUntil) {
      resolve(undefined);
      return promise;
    }
    const call = new GetAttributes(delegation, (attributes) => {
      clearTimeout(timer);
      resolve(attributes);
    });
    const timer = setTimeout(() => {
      client.silentUntil = performance.now() + SILENT_MILLISECONDS;
      call.giveUp();
    }, ATTRIBUTES_MILLISECONDS);
    path.send(call);
    return promise;
  }
}

function pathTo(client: Client): CallbackPath | undefined {
  if (client.callback?.isUp === true) {
    return client.callback;
  }
  for (const session of client.sessions) {
    if (session.backChannel.isUp) {
      return session.backChannel;
    }
  }
  return undefined;
}
