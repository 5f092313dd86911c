import type { TestContext } from "node:test";
import {
  type FileSystem,
  type Gate,
  MemoryFileSystem,
  NfsServer,
  type NfsServerOptions,
} from "../../../src/nfs/index.ts";
import type { Client } from "../../../src/nfs/state/records.ts";

import { TestConnection, TestSession } from "./client.ts";

export interface Fixture {
  readonly server: NfsServer;
  readonly port: number;
  /** One more connection, closed with the test. */
  connect(): Promise<TestConnection>;
  session(owner?: string): Promise<TestSession>;
}

/** A server that ends with the test. A fault of the file system fails the test. */
export async function serve(
  t: TestContext,
  options: Partial<NfsServerOptions> & { fileSystem?: FileSystem; gate?: Gate } = {},
): Promise<Fixture> {
  const faults: unknown[] = [];
  const server = new NfsServer({
    fileSystem: new MemoryFileSystem({ rootMode: 0o777 }),
    onFault: (error) => faults.push(error),
    ...options,
  });
  const port = await server.listen();
  const connections: TestConnection[] = [];
  const connect = async () => {
    const connection = await TestConnection.open(port);
    connections.push(connection);
    return connection;
  };
  t.after(async () => {
    for (const connection of connections) {
      connection.close();
    }
    await server.close();
    if (faults.length > 0) {
      throw new AggregateError(faults, "the file system failed");
    }
  });
  return {
    server,
    port,
    connect,
    session: async (owner) => TestSession.create(await connect(), owner),
  };
}

/** The server's record of the session's client. */
export function recordOf(server: NfsServer, { clientid }: TestSession): Client {
  const { state } = NfsServer.contextOf(server);
  const client = state.clients.find(clientid.readUInt32BE(0), clientid.readUInt32BE(4));
  if (client === undefined) {
    throw new Error("the server has no record of the client");
  }
  return client;
}
