import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptingCallInterface,
  type ServerInterceptor,
} from "@grpc/grpc-js";
import { setAuthentication } from "../grpc/incoming-call.ts";
import { failure, toStatusError } from "../grpc/status.ts";
import { Code } from "../proto/gen/google/rpc/code_pb.ts";
import type { Authenticator } from "./authenticator.ts";
import { headerText, type Peer } from "./peer.ts";

/** Refuses each call that the authenticator does; the handlers of others are told what it knows. Must be the first. */
export function authenticating(authenticate: Authenticator): ServerInterceptor {
  return (_method, call) => {
    const controller = new AbortController();
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, pass) {
            authenticate(peerOf(call, metadata, controller.signal)).then(
              (known) => {
                setAuthentication(metadata, known);
                pass(metadata);
              },
              (error: unknown) => {
                const { code, details } = toStatusError(error);
                call.sendStatus({ code, details });
              },
            );
          },
          onCancel: () => controller.abort(failure(Code.CANCELLED, "the client cancelled the call")),
        }),
    });
  };
}

/** What grpc-js's own call has of the connection it came by, for which it has no interface. */
interface Connected {
  readonly stream?: {
    readonly session?: {
      readonly socket?: Socket & { readonly _handle?: { readonly fd?: number } | null };
    };
  };
}

function peerOf(call: ServerInterceptingCallInterface, metadata: Metadata, signal: AbortSignal): Peer {
  const socket = (call as unknown as Connected).stream?.session?.socket;
  return {
    header: (name) => metadata.get(name).map((value) => headerText(name, value)),
    tls: socket instanceof TLSSocket ? socket : undefined,
    get unixSocket() {
      const handle = socket?._handle;
      return handle?.constructor.name === "Pipe" ? handle.fd : undefined;
    },
    metadata,
    signal,
  };
}
