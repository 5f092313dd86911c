import { constants } from "node:os";

/** "ENOENT" for 2; "errno 9999" where the system has no such name. libuv's names lack some, such as ESTALE. */
export function errnoName(errno: number): string {
  const found = Object.entries(constants.errno).find(([, value]) => value === errno);
  return found?.[0] ?? `errno ${errno}`;
}
