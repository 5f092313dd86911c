import { callLibc } from "../native/libc.ts";

/** From <sys/prctl.h>. */
const PR_SET_DUMPABLE = 4;

/**
 * Keeps commands of this process's own user, where they see it, from tracing it and from reading its memory and open
 * files. No core is dumped of it any more.
 */
export function forbidTracing(): void {
  const unused = { unsignedLong: 0 };
  callLibc("prctl", { int: PR_SET_DUMPABLE }, { unsignedLong: 0 }, unused, unused, unused);
}
