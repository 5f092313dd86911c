import { type Attributes, type Credentials, FileType, type Node } from "../file-system.ts";
import { Status } from "../protocol/status.ts";

/** Permission bits as in a file mode's last octal digit. */
export const Permission = { READ: 4, WRITE: 2, EXECUTE: 1 } as const;

const STICKY = 0o1000;

export function isInGroup(credentials: Credentials, groupId: number): boolean {
  return credentials.groupId === groupId || credentials.supplementaryGroupIds.includes(groupId);
}

/** The permission bits that the mode grants; user 0 has all, but may execute only what somebody may execute. */
export function permissions(type: FileType, attributes: Attributes, credentials: Credentials): number {
  const { mode } = attributes;
  if (credentials.userId === 0) {
    return type === FileType.DIRECTORY || (mode & 0o111) !== 0 ? 7 : 6;
  }
  if (credentials.userId === attributes.userId) {
    return (mode >> 6) & 7;
  }
  if (isInGroup(credentials, attributes.groupId)) {
    return (mode >> 3) & 7;
  }
  return mode & 7;
}

/** OK, or ACCESS if a bit of `wanted` is lacking. */
export function check(
  type: FileType,
  attributes: Attributes,
  credentials: Credentials,
  wanted: number,
): Status {
  if (credentials.userId === 0 && (wanted & Permission.EXECUTE) === 0) {
    return Status.OK;
  }
  return (permissions(type, attributes, credentials) & wanted) === wanted ? Status.OK : Status.ACCESS;
}

/** {@link check} of a node's own attributes. */
export function checkNode(node: Node, credentials: Credentials, wanted: number): Status {
  // Most lookups are root's, and no mode keeps root out of a directory.
  if (credentials.userId === 0 && node.type === FileType.DIRECTORY) {
    return Status.OK;
  }
  return check(node.type, node.attributes(), credentials, wanted);
}

/**
 * READ of a file is also granted to those who may execute it: a client's kernel reads what it executes
 * (RFC 8881 §18.22.3).
 */
export function checkFile(
  type: FileType,
  attributes: Attributes,
  credentials: Credentials,
  wanted: number,
): Status {
  if (credentials.userId === 0) {
    return Status.OK;
  }
  const granted = permissions(type, attributes, credentials);
  const effective = (granted & Permission.EXECUTE) !== 0 ? granted | Permission.READ : granted;
  return (effective & wanted) === wanted ? Status.OK : Status.ACCESS;
}

/**
 * {@link checkFile} for READ and WRITE under a stateid: the owner is let through, having perhaps created the file with
 * a mode that forbids what it is open for.
 */
export function checkOpenFile(
  type: FileType,
  attributes: Attributes,
  credentials: Credentials,
  wanted: number,
): Status {
  const { userId } = credentials;
  if (userId === 0 || userId === attributes.userId) {
    return Status.OK;
  }
  return checkFile(type, attributes, credentials, wanted);
}

/** In a sticky directory only the owner of the entry or of the directory may remove or rename it. */
export function checkSticky(directory: Attributes, entry: Attributes, credentials: Credentials): Status {
  if ((directory.mode & STICKY) === 0 || credentials.userId === 0) {
    return Status.OK;
  }
  const { userId } = credentials;
  return userId === entry.userId || userId === directory.userId ? Status.OK : Status.PERM;
}
