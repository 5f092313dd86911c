import type { TLSSocket } from "node:tls";

/** Whoever makes a call, as far as it can be told from the call. */
export interface Peer {
  /** All values of a header, whose name is in lower case. */
  header(name: string): readonly string[];
  /** The connection, if it is by TLS. */
  readonly tls: TLSSocket | undefined;
  /** The descriptor of the connection, if it is by a UNIX socket. */
  readonly unixSocket: number | undefined;
}
