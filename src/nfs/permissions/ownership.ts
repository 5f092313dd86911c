import {
  type AttributeChanges,
  type Attributes,
  type Credentials,
  FileType,
  type MaybePromise,
  type RegularFile,
} from "../file-system.ts";
import { Status } from "../protocol/status.ts";
import { isInGroup } from "./access.ts";

const SET_USER_ID = 0o4000;
const SET_GROUP_ID = 0o2000;
const GROUP_EXECUTE = 0o010;

/**
 * Whom a new node belongs to. In a set-group-id directory it gets that directory's group; a new directory also gets
 * the bit, which is added to `changes.mode`.
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

/**
 * Adds to `changes` what chmod(2), chown(2) and truncate(2) do to the set-id bits. Linux's client leaves it to the
 * server. A new owner or group takes them from all but directories, also where root gives it.
 */
export function addSetIdChanges(
  type: FileType,
  attributes: Attributes,
  credentials: Credentials,
  changes: AttributeChanges,
): void {
  const unprivileged = credentials.userId !== 0;
  const { mode, size, userId, groupId } = changes;
  if (mode !== undefined) {
    if (unprivileged && !isInGroup(credentials, groupId ?? attributes.groupId)) {
      changes.mode = mode & ~SET_GROUP_ID;
    }
    return;
  }
  const truncates = size !== undefined && unprivileged;
  const gives = (userId ?? groupId) !== undefined && type !== FileType.DIRECTORY;
  const without = withoutSetIds(attributes.mode);
  if ((truncates || gives) && without !== attributes.mode) {
    changes.mode = without;
  }
}

/** Comes before a change of the content: takes the set-id bits away, unless it is root's. */
export function clearSetIds(file: RegularFile, credentials: Credentials): MaybePromise<void> {
  if (credentials.userId === 0) {
    return;
  }
  const { mode } = file.attributes();
  const without = withoutSetIds(mode);
  return without === mode ? undefined : file.setAttributes({ mode: without });
}

/** Set-group-id without the group's execute bit stands for mandatory locking and stays. */
function withoutSetIds(mode: number): number {
  const dropped = (mode & GROUP_EXECUTE) !== 0 ? SET_USER_ID | SET_GROUP_ID : SET_USER_ID;
  return mode & ~dropped;
}
