import type { Node } from "../file-system.ts";
import type { Client } from "./client.ts";
import type { FileState, LockState, OpenState } from "./states.ts";

/**
 * The seqid of a state owner (RFC 7530 §9.1.7) with the reply to its last request. NFSv4.1 has slots for this
 * purpose and leaves it alone.
 */
export class OwnerSequence {
  seqid = 0;
  started = false;
  busy = false;
  /** The result of the last operation, from its number on. */
  reply: Buffer | undefined;
  /** The current filehandle after it. */
  replyNode: Node | undefined;
}

export class OpenOwner {
  readonly client: Client;
  readonly key: string;
  readonly opens = new Map<FileState, OpenState>();
  /** NFSv4.0: OPEN_CONFIRM has been seen. */
  confirmed = false;
  sequence: OwnerSequence | undefined;

  constructor(client: Client, key: string) {
    this.client = client;
    this.key = key;
  }
}

export class LockOwner {
  readonly client: Client;
  readonly key: string;
  readonly states = new Map<FileState, LockState>();
  sequence: OwnerSequence | undefined;

  constructor(client: Client, key: string) {
    this.client = client;
    this.key = key;
  }
}
