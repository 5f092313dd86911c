import { writeAttributeError, writeAttributes } from "../attributes/encode.ts";
import { andThen } from "../compound/and-then.ts";
import type { Compound } from "../compound/compound.ts";
import { type Attributes, type Directory, FileType, type MaybePromise, type Node } from "../file-system.ts";
import { checkNode, Permission } from "../permissions/access.ts";
import { Attribute } from "../protocol/attribute.ts";
import { Status } from "../protocol/status.ts";

/** Room after the entries: the end mark, eof, and what follows in the compound. */
const TRAILER = 8;
const FOLLOWING = 128;

/** Once it has waited this long for attributes, a listing ends with the entries it has: the client asks for more. */
const PATIENCE_MILLISECONDS = 1000;

/** RFC 8881 §18.23. Cookies need no verifier: they stay good while the directory changes. */
export function readdir(compound: Compound): MaybePromise<Status> {
  const { reader, node, attributeRequest } = compound;
  const cookie = reader.uint64();
  const verifierHigh = reader.uint32();
  const verifierLow = reader.uint32();
  reader.uint32();
  const maximum = reader.uint32();
  attributeRequest.read(reader);
  if (node === undefined) {
    return Status.NOFILEHANDLE;
  }
  if (node.type !== FileType.DIRECTORY) {
    return Status.NOTDIR;
  }
  if (attributeRequest.hasWriteOnly(compound.minorVersion)) {
    return Status.INVAL;
  }
  if (cookie === 1 || cookie === 2 || cookie > Number.MAX_SAFE_INTEGER) {
    return Status.BAD_COOKIE;
  }
  if (verifierHigh !== 0 || verifierLow !== 0) {
    return Status.NOT_SAME;
  }
  const permitted = checkNode(node, compound.credentials, Permission.READ);
  if (permitted !== Status.OK) {
    return permitted;
  }
  const room = compound.replyLimit - compound.replyLength - FOLLOWING;
  return new Listing(compound, node, Math.min(maximum, room)).run(cookie);
}

/** One READDIR in progress: it may have to wait for the attributes of an entry, and then continues after it. */
class Listing {
  readonly #compound: Compound;
  readonly #directory: Directory;
  readonly #maximum: number;
  #entries = 0;
  /** Bytes of READDIR4resok so far. */
  #length = 8;
  #full = false;
  #started = false;
  /** Whether there may be attributes that only a client knows. */
  #delegated = false;
  /** When it first had to wait; 0 before. */
  #waitingSince = 0;
  /** The entry whose attributes are waited for. */
  #waitingFor: Promise<Attributes | Status> | undefined;
  /** The status with which the whole listing fails. */
  #failure: Status | undefined;
  #waitingName = "";
  #waitingCookie = 0;
  #waitingNode: Node | undefined;

  constructor(compound: Compound, directory: Directory, maximum: number) {
    this.#compound = compound;
    this.#directory = directory;
    this.#maximum = maximum;
  }

  run(cookie: number): MaybePromise<Status> {
    if (this.#length + TRAILER > this.#maximum) {
      return Status.TOOSMALL;
    }
    this.#delegated = this.#compound.context.state.mutableDelegations > 0;
    const done = this.#directory.readDirectory(cookie, (name, entryCookie, node) =>
      this.#visit(name, entryCookie, node),
    );
    return andThen(done, (complete) => this.#afterVisits(complete));
  }

  #visit(name: string, cookie: number, node: Node): boolean {
    const attributes = this.#delegated ? this.#attributesOf(node) : node.attributes();
    if (attributes instanceof Promise) {
      this.#waitingFor = attributes;
      this.#waitingName = name;
      this.#waitingCookie = cookie;
      this.#waitingNode = node;
      return false;
    }
    return this.#addOrFail(name, cookie, node, attributes);
  }

  #attributesOf(node: Node): MaybePromise<Attributes | Status> {
    const { context, attributeRequest, caller } = this.#compound;
    return context.delegations.attributesOf(node, attributeRequest, caller);
  }

  /** RFC 8881 §18.23.3: an entry whose attributes are not available need not fail the whole listing. */
  #addOrFail(name: string, cookie: number, node: Node, attributes: Attributes | Status): boolean {
    if (typeof attributes === "number" && !this.#compound.attributeRequest.has(Attribute.RDATTR_ERROR)) {
      this.#failure = attributes;
      return false;
    }
    return this.#add(name, cookie, node, attributes);
  }

  /** False if the entry does not fit. A status takes the place of attributes that are not available. */
  #add(name: string, cookie: number, node: Node, attributes: Attributes | Status): boolean {
    const compound = this.#compound;
    const { writer } = compound;
    const start = writer.position;
    if (!this.#started) {
      writer.uint64(0);
      this.#started = true;
    }
    const entryAt = writer.position;
    writer.uint32(1);
    writer.uint64(cookie);
    writer.latin1(name);
    if (typeof attributes === "number") {
      writeAttributeError(writer, attributes);
    } else {
      writeAttributes(
        writer,
        compound.attributeRequest,
        node,
        attributes,
        compound.context,
        compound.minorVersion,
      );
    }
    const length = writer.position - entryAt;
    if (this.#length + length + TRAILER > this.#maximum) {
      if (this.#entries === 0) {
        this.#started = false;
      }
      writer.truncate(this.#entries === 0 ? start : entryAt);
      this.#full = true;
      return false;
    }
    this.#length += length;
    this.#entries++;
    return true;
  }

  #afterVisits(complete: boolean): MaybePromise<Status> {
    const waitingFor = this.#waitingFor;
    if (waitingFor !== undefined) {
      this.#waitingFor = undefined;
      if (this.#waitingSince === 0) {
        this.#waitingSince = performance.now();
      }
      return waitingFor.then((attributes) => this.#goOn(attributes));
    }
    return this.#end(complete);
  }

  #goOn(attributes: Attributes | Status): MaybePromise<Status> {
    const added = this.#addOrFail(this.#waitingName, this.#waitingCookie, this.#waitingNode!, attributes);
    const late = performance.now() - this.#waitingSince > PATIENCE_MILLISECONDS;
    return added && !late ? this.run(this.#waitingCookie) : this.#end(false);
  }

  #end(complete: boolean): Status {
    const { writer } = this.#compound;
    if (this.#failure !== undefined) {
      return this.#failure;
    }
    if (this.#full && this.#entries === 0) {
      return Status.TOOSMALL;
    }
    if (!this.#started) {
      writer.uint64(0);
    }
    writer.uint32(0);
    writer.bool(complete && !this.#full);
    return Status.OK;
  }
}
