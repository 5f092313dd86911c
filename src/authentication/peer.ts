import type { TLSSocket } from "node:tls";
import type { Metadata } from "@grpc/grpc-js";
import { unauthenticated } from "./error.ts";

/** Whoever makes a call, as far as it can be told from the call. */
export interface Peer {
  /** All values of a header, whose name is in lower case. Throws an AuthenticationError for what is no UTF-8. */
  header(name: string): readonly string[];
  /** The connection, if it is by TLS. */
  readonly tls: TLSSocket | undefined;
  /**
   * The descriptor of the connection, if it is by a UNIX socket and still there. To be asked for when it is used: a
   * descriptor that is closed becomes another connection's.
   */
  readonly unixSocket: number | undefined;
  /** The headers of a call by gRPC. */
  readonly metadata?: Metadata;
  /** Aborts when the call is given up. */
  readonly signal: AbortSignal;
}

/** The text of a header's value, of which HTTP has bytes: one for each character, where Node has made a string of them. */
export function headerText(name: string, value: string | Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(
      typeof value === "string" ? Buffer.from(value, "latin1") : value,
    );
  } catch (error) {
    throw unauthenticated(`The header ${JSON.stringify(name)} is not UTF-8`, { cause: error });
  }
}
