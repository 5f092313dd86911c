import type { AttributeChanges, Attributes, Credentials } from "../file-system.ts";
import { Status } from "../protocol/status.ts";
import { isInGroup } from "./access.ts";

const SET_USER_ID = 0o4000;
const SET_GROUP_ID = 0o2000;
const GROUP_EXECUTE = 0o010;

/**
 * To whom a new node belongs: in a set-group-id directory to its group, and a directory made there hands
 * that on. May add the bit to `changes.mode`.
 */
export function inherit(
  directory: Attributes,
  credentials: Credentials,
  changes: AttributeChanges,
  makesDirectory: boolean,
): Credentials {
  if ((directory.mode & SET_GROUP_ID) === 0) {
    return credentials;
  }
  if (makesDirectory) {
    changes.mode = (changes.mode ?? 0o777) | SET_GROUP_ID;
  }
  return { ...credentials, groupId: directory.groupId };
}

/** Whether `credentials` may make these changes to a node (RFC 8881 §5.8, as chmod(2), chown(2) and utimes(2)). */
export function checkChanges(
  attributes: Attributes,
  credentials: Credentials,
  changes: AttributeChanges,
  mayWrite: boolean,
): Status {
  if (credentials.userId === 0) {
    return Status.OK;
  }
  const owns = credentials.userId === attributes.userId;
  const { mode, userId, groupId, accessTime, modifyTime, size } = changes;
  if (mode !== undefined && !owns) {
    return Status.PERM;
  }
  if (userId !== undefined && (!owns || userId !== attributes.userId)) {
    return Status.PERM;
  }
  if (
    groupId !== undefined &&
    !(owns && (groupId === attributes.groupId || isInGroup(credentials, groupId)))
  ) {
    return Status.PERM;
  }
  if (size !== undefined && !mayWrite) {
    return Status.ACCESS;
  }
  for (const time of [accessTime, modifyTime]) {
    if (time === undefined || owns) {
      continue;
    }
    if (time !== "now") {
      return Status.PERM;
    }
    if (!mayWrite) {
      return Status.ACCESS;
    }
  }
  return Status.OK;
}

/** Adds what chmod(2), chown(2) and truncate(2) by an unprivileged user do to the set-id bits. */
export function clearSetIds(
  attributes: Attributes,
  credentials: Credentials,
  changes: AttributeChanges,
): void {
  if (credentials.userId === 0) {
    return;
  }
  if (changes.mode !== undefined) {
    const groupId = changes.groupId ?? attributes.groupId;
    if ((changes.mode & SET_GROUP_ID) !== 0 && !isInGroup(credentials, groupId)) {
      changes.mode &= ~SET_GROUP_ID;
    }
    return;
  }
  const { size, userId, groupId } = changes;
  if ((size ?? userId ?? groupId) === undefined) {
    return;
  }
  const mode = withoutSetIds(attributes.mode);
  if (mode !== attributes.mode) {
    changes.mode = mode;
  }
}

/** Set-group-id without the group's execute bit stands for mandatory locking and stays. */
export function withoutSetIds(mode: number): number {
  const dropped = (mode & GROUP_EXECUTE) !== 0 ? SET_USER_ID | SET_GROUP_ID : SET_USER_ID;
  return mode & ~dropped;
}
