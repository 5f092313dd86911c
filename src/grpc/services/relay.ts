import type { Writable } from "node:stream";
import {
  credentials,
  Client as GrpcClient,
  type Metadata,
  type Server,
  type ServerDuplexStream,
  type ServiceError,
} from "@grpc/grpc-js";
import { type EndpointChannel, type GrpcEndpoint, openChannel } from "../endpoint.ts";
import { authenticationOf } from "../incoming-call.ts";
import { toStatusError } from "../status.ts";

/** Services of another server: what Buildbarn's ServerRelayConfiguration says, as plain data. */
export interface RelaySettings {
  readonly endpoint: GrpcEndpoint;
  /** Full names, such as "build.bazel.remote.execution.v2.Execution". */
  readonly services: readonly string[];
}

/** Messages as they are on the wire. */
type RawCall = ServerDuplexStream<Buffer, Buffer>;

/** What grpc-js has no interface for: how a server finds what answers a method. */
interface Routed {
  _retrieveHandler(path: string): object | null;
}

/**
 * Has the server pass on the calls of these services that it does not answer itself, whatever their methods. Messages,
 * deadline, cancellation and status go through. Headers do not, beside those that the endpoint asks for. The connections
 * belong to `resources`.
 */
export function addRelays(
  server: Server,
  relays: readonly RelaySettings[],
  resources: DisposableStack,
): void {
  const routes = new Map<string, (call: RawCall) => Promise<void>>();
  for (const { endpoint, services } of relays) {
    const channel = resources.adopt(openChannel(endpoint), (opened) => opened.close());
    const client = new GrpcClient("", credentials.createInsecure(), { channelOverride: channel });
    for (const service of services) {
      routes.set(service, (call) => relay(call, client, channel));
    }
  }
  const routed = server as unknown as Routed;
  const retrieve = routed._retrieveHandler.bind(server);
  routed._retrieveHandler = (path) => {
    const func = routes.get(path.slice(1, path.lastIndexOf("/")));
    return (
      retrieve(path) ?? (func ? { func, serialize: asItIs, deserialize: asItIs, type: "bidi", path } : null)
    );
  };
}

function asItIs(message: Buffer): Buffer {
  return message;
}

/** Each side is read as fast as the other takes what it sends. */
async function relay(call: RawCall, client: GrpcClient, { headers }: EndpointChannel): Promise<void> {
  const incoming = { metadata: call.metadata, authentication: authenticationOf(call.metadata) };
  let metadata: Metadata;
  try {
    // Until then, nothing is read.
    metadata = await headers.of(undefined, incoming);
  } catch (error) {
    call.emit("error", toStatusError(error));
    return;
  }
  if (call.cancelled) {
    return;
  }
  const deadline = call.getDeadline();
  const onward = client.makeBidiStreamRequest(call.getPath(), asItIs, asItIs, metadata, { deadline });
  let failed: ServiceError | undefined;
  onward.on("error", (error: ServiceError) => {
    failed = error;
  });
  onward.on("end", () => {
    call.unpipe(writable(onward));
    // A client that got its answer early still sends; unread, its data would block the connection.
    call.resume();
    if (failed === undefined) {
      headers.succeeded(incoming);
      call.end();
    } else {
      call.emit("error", toStatusError(failed));
    }
  });
  call.on("cancelled", () => onward.cancel());
  call.pipe(writable(onward));
  onward.pipe(writable(call), { end: false });
}

/** grpc-js's declarations of these streams are not quite Node's. */
function writable(stream: unknown): Writable {
  return stream as Writable;
}
