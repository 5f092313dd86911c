import { once } from "node:events";
import { connect, createServer, type ListenOptions, type NetConnectOpts, type Server } from "node:net";
import { type Duplex, PassThrough, pipeline } from "node:stream";

/**
 * Passes on every connection that comes to the one address to the other. What comes back goes through what `back` makes
 * for each. Rejects with an Error if it cannot listen.
 */
export async function relay(
  from: ListenOptions,
  to: NetConnectOpts,
  back: () => Duplex = () => new PassThrough(),
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (incoming) => {
    const outgoing = connect({ ...to, allowHalfOpen: true });
    // A connection that breaks on one side ends on the other; there is nobody to tell.
    pipeline(incoming, outgoing, () => {});
    pipeline(outgoing, back(), incoming, () => {});
  });
  server.listen(from);
  await once(server, "listening");
  return server;
}
