import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { setAuthentication } from "../grpc/incoming-call.ts";
import { toStatusError } from "../grpc/status.ts";
import type { Authenticator } from "./authenticator.ts";
import type { Peer } from "./peer.ts";

/** Refuses each call that the authenticator does; the handlers of others are told what it knows. Must be the first. */
export function authenticating(authenticate: Authenticator): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, pass) {
            try {
              setAuthentication(metadata, authenticate(peerOf(call, metadata)));
            } catch (error) {
              const { code, details } = toStatusError(error);
              call.sendStatus({ code, details });
              return;
            }
            pass(metadata);
          },
        }),
    });
}

/** What grpc-js's own call has of the connection it came by, for which it has no interface. */
interface Connected {
  readonly stream?: {
    readonly session?: {
      readonly socket?: Socket & { readonly _handle?: { readonly fd?: number } | null };
    };
  };
}

function peerOf(call: ServerInterceptingCallInterface, metadata: Metadata): Peer {
  const socket = (call as unknown as Connected).stream?.session?.socket;
  const handle = socket?._handle;
  return {
    header: (name) => metadata.get(name).map((value) => value.toString()),
    tls: socket instanceof TLSSocket ? socket : undefined,
    unixSocket: handle?.constructor.name === "Pipe" ? handle.fd : undefined,
  };
}
