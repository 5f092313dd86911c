/**
 * `node mounted-server.ts MOUNT_PATH`: a process that mounts its own empty NFS server, as a worker does in a network
 * namespace of its own, and prints "mounted". What becomes of the mount when it is killed is what tests want to know.
 */
import { NetworkNamespace, NfsMount } from "../../src/mount/index.ts";
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";

const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
const network = NetworkNamespace.create();
const listener = network.openTcpSocket();
const port = await server.listen({ fd: listener });
const mountPath = process.argv[2] ?? "";
const standIn = { listener, closeServer: () => server.close() };
await NfsMount.mount({ network, port, standIn, serverPath: "/", mountPath, version: "4.2" });
console.log("mounted");
