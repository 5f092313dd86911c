import type { AttributeRequest } from "../attributes/request.ts";
import type { Callbacks } from "../callback/callbacks.ts";
import type { HoldersAttributes } from "../callback/get-attributes.ts";
import type { AttributeChanges, Attributes, Timestamp } from "../file-system.ts";
import { Attribute } from "../protocol/attribute.ts";
import type { Delegation } from "../state/records.ts";

const CHANGE_OR_SIZE = (1 << Attribute.CHANGE) | (1 << Attribute.SIZE);
const MODIFY_OR_METADATA = (1 << (Attribute.TIME_METADATA - 32)) | (1 << (Attribute.TIME_MODIFY - 32));
const ACCESS = 1 << (Attribute.TIME_ACCESS - 32);

/** Whether the holder of the WRITE delegation may know the requested attributes better. */
export function mayKnowBetter(delegation: Delegation, request: AttributeRequest): boolean {
  const times = delegation.timestamps ? MODIFY_OR_METADATA | ACCESS : MODIFY_OR_METADATA;
  return (request.word0 & CHANGE_OR_SIZE) !== 0 || (request.word1 & times) !== 0;
}

/**
 * The file's attributes after its holder has been asked for them (RFC 8881 §10.4.3); undefined if it does not
 * answer. Once the holder has modified data, `change` goes up with every question, as it need not say whether it has
 * modified the data again. Simultaneous questions share one call.
 */
export function attributesFromHolder(
  callbacks: Callbacks,
  delegation: Delegation,
): Promise<Attributes | undefined> {
  delegation.question ??= ask(callbacks, delegation).finally(() => {
    delegation.question = undefined;
  });
  return delegation.question;
}

async function ask(callbacks: Callbacks, delegation: Delegation): Promise<Attributes | undefined> {
  const held = await callbacks.attributes(delegation);
  if (held === undefined) {
    return undefined;
  }
  const file = delegation.file.node;
  let attributes = file.attributes();
  // Returned meanwhile: the file has what the holder knew.
  if (!delegation.isHeld) {
    return attributes;
  }
  if (held.change !== delegation.given.change || held.size !== attributes.size) {
    delegation.modified = true;
  }
  const changes = changesOf(delegation, held, attributes);
  if (changes !== undefined) {
    await file.setAttributes(changes);
    attributes = file.attributes();
  }
  return { ...attributes, size: held.size };
}

/** The changes that the file itself takes over, so that nothing goes backwards if the holder loses its data. */
function changesOf(
  delegation: Delegation,
  held: HoldersAttributes,
  attributes: Attributes,
): AttributeChanges | undefined {
  const { modified, timestamps } = delegation;
  if (!timestamps) {
    return modified ? { modifyTime: "now" } : undefined;
  }
  const changes = heldTimes(delegation, attributes, held.accessTime, held.modifyTime);
  if (!modified) {
    return changes;
  }
  return { modifyTime: attributes.modifyTime, metadataTime: attributes.metadataTime, ...changes };
}

/**
 * The holder's times, as far as they count (RFC 9754 §5): those from before it had the delegation are dropped, and
 * none is later than now. undefined if none is left.
 */
export function heldTimes(
  delegation: Delegation,
  attributes: Attributes,
  heldAccess: Timestamp | undefined,
  heldModify: Timestamp | undefined,
): AttributeChanges | undefined {
  const now = timeOfDay();
  const { given } = delegation;
  const accessTime = accept(heldAccess, given.accessTime, attributes.accessTime, now);
  const modifyTime = accept(heldModify, given.modifyTime, attributes.modifyTime, now);
  if (accessTime === undefined && modifyTime === undefined) {
    return undefined;
  }
  const { metadataTime } = attributes;
  const changes: AttributeChanges = {
    metadataTime: modifyTime !== undefined && isBefore(metadataTime, modifyTime) ? modifyTime : metadataTime,
  };
  if (accessTime !== undefined) {
    changes.accessTime = accessTime;
  }
  if (modifyTime !== undefined) {
    changes.modifyTime = modifyTime;
  }
  return changes;
}

function accept(
  held: Timestamp | undefined,
  given: Timestamp,
  present: Timestamp,
  now: Timestamp,
): Timestamp | undefined {
  if (held === undefined || !isBefore(given, held)) {
    return undefined;
  }
  const time = isBefore(now, held) ? now : held;
  return time.seconds === present.seconds && time.nanoseconds === present.nanoseconds ? undefined : time;
}

function isBefore(one: Timestamp, other: Timestamp): boolean {
  return (
    one.seconds < other.seconds || (one.seconds === other.seconds && one.nanoseconds < other.nanoseconds)
  );
}

function timeOfDay(): Timestamp {
  const milliseconds = performance.timeOrigin + performance.now();
  const seconds = Math.floor(milliseconds / 1000);
  return { seconds, nanoseconds: Math.floor((milliseconds - seconds * 1000) * 1e6) };
}
