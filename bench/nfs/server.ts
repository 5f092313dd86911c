/** The server under test, in a process of its own: prints its port. */
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";

const server = new NfsServer({ fileSystem: new MemoryFileSystem() });
console.log(await server.listen({ port: Number(process.argv[2] ?? 0) }));
process.once("SIGTERM", () => server.close({ graceMilliseconds: 0 }));
