import {
  InterceptingCall,
  type Interceptor,
  ServerInterceptingCall,
  type ServerInterceptor,
  status,
} from "@grpc/grpc-js";
import type { CallCounts, CountedCall } from "./counts.ts";

/** Has a client's calls counted. */
export function countingClient(counts: CallCounts): Interceptor {
  return (options, nextCall) => {
    let call: CountedCall | undefined;
    return new InterceptingCall(nextCall(options), {
      start(metadata, _listener, next) {
        call = counts.start(options.method_definition.path);
        next(metadata, {
          onReceiveMessage(message, nextMessage) {
            // Of a unary call that failed, grpc-js hands over null.
            if (message !== null) {
              call?.received();
            }
            nextMessage(message);
          },
          onReceiveStatus(ending, nextStatus) {
            call?.ended(ending.code);
            nextStatus(ending);
          },
        });
      },
      sendMessage(message, next) {
        call?.sent();
        next(message);
      },
    });
  };
}

/** Has a server's calls counted. */
export function countingServer(counts: CallCounts): ServerInterceptor {
  return ({ path }, serverCall) => {
    const call = counts.start(path);
    return new ServerInterceptingCall(serverCall, {
      start(next) {
        next({
          onReceiveMessage(message, nextMessage) {
            call?.received();
            nextMessage(message);
          },
          onCancel() {
            call?.ended(status.CANCELLED);
          },
        });
      },
      sendMessage(message, next) {
        call?.sent();
        next(message);
      },
      sendStatus(ending, next) {
        call?.ended(ending.code ?? status.UNKNOWN);
        next(ending);
      },
    });
  };
}
