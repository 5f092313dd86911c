import { callLibc } from "./libc.ts";

/** Of <sys/socket.h>, the same on all architectures Node runs on. */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const UCRED_BYTES = 12;

/** Who opened the other end of a UNIX socket's connection. Throws an Error with a `code`. */
export function peerCredentials(descriptor: number): { readonly userId: number; readonly groupId: number } {
  const credentials = Buffer.alloc(UCRED_BYTES);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(UCRED_BYTES);
  callLibc(
    "getsockopt",
    { int: descriptor },
    { int: SOL_SOCKET },
    { int: SO_PEERCRED },
    { memory: credentials },
    { memory: length },
  );
  return { userId: credentials.readUInt32LE(4), groupId: credentials.readUInt32LE(8) };
}
