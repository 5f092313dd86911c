/** `node bench/nfs/example.ts [PORT]`: exports a memory file system, and logs once a second what clients do. */
import { MemoryFileSystem, NfsServer, type NfsServerStatistics } from "../../src/nfs/index.ts";

const server = new NfsServer({
  fileSystem: new MemoryFileSystem({ rootMode: 0o777 }),
  delegations: true,
  leaseSeconds: Number(process.env.LEASE_SECONDS ?? 90),
});
const port = await server.listen({ port: Number(process.argv[2] ?? 0) });
console.log(`mount -t nfs4 -o port=${port},vers=4.2 127.0.0.1:/ /mnt`);

let before: NfsServerStatistics["operations"] = {};
const timer = setInterval(() => {
  const { operations, states } = server.statistics();
  const calls = Object.entries(operations)
    .map(([name, count]) => [name, count - (before[name as keyof typeof before] ?? 0)] as const)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`);
  if (calls.length > 0) console.log(`${calls.join(", ")}; ${states} opens, locks and delegations`);
  before = operations;
}, 1000);

process.once("SIGINT", async () => {
  clearInterval(timer);
  await server.close();
});
