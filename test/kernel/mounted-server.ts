/**
 * `node mounted-server.ts MOUNT_PATH`: a process that mounts its own empty NFS server and prints "mounted". What
 * becomes of the mount when it is killed is what tests want to know.
 */
import { NfsMount } from "../../src/mount/index.ts";
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";

const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
const port = await server.listen();
await NfsMount.mount({ port, serverPath: "/", mountPath: process.argv[2] ?? "", version: "4.2" });
console.log("mounted");
