/**
 * `node --expose-gc bench/nfs/opens.ts [OPENS] [CONNECTIONS]`: bytes of memory that an open holds in the server, and
 * how much slower a GETATTR is while they are held.
 */
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";
import { handle, openArguments, type Step, TestConnection, TestSession } from "../../test/unit/nfs/client.ts";

const OPENS = Number(process.argv[2] ?? 100_000);
const CONNECTIONS = Number(process.argv[3] ?? 200);
const FILES = 1000;
const GETATTRS = 20_000;

const fileSystem = new MemoryFileSystem();
const server = new NfsServer({ fileSystem });
const port = await server.listen();
const root = { userId: 0, groupId: 0, supplementaryGroupIds: [] };
for (let file = 0; file < FILES; file++) {
  fileSystem.root.createFile(`file ${file}`, root, {});
}

const sessions: TestSession[] = [];
for (let index = 0; index < CONNECTIONS; index++) {
  sessions.push(await TestSession.create(await TestConnection.open(port)));
}
const idle = await getattrsPerSecond(sessions[0]!);
const before = memory();
const perSession = OPENS / CONNECTIONS;
for (const [index, session] of sessions.entries()) {
  for (let open = 0; open < perSession; open++) {
    const options = { owner: `owner ${open}`, access: 1 };
    const steps: Step[] = [
      ["PUTROOTFH"],
      ["OPEN", openArguments(session.clientid, `file ${(index + open) % FILES}`, options)],
    ];
    await session.call(steps);
  }
}
const states = server.statistics().states;
const bytes = (memory() - before) / states;
const loaded = await getattrsPerSecond(sessions[0]!);
console.log(`${states} opens on ${CONNECTIONS} connections: ${bytes.toFixed(0)} bytes each`);
console.log(`GETATTR one at a time: ${idle.toFixed(0)}/s without, ${loaded.toFixed(0)}/s with them`);
for (const { connection } of sessions) {
  connection.close();
}
await server.close();

function memory(): number {
  globalThis.gc?.();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function getattrsPerSecond(session: TestSession): Promise<number> {
  const steps: Step[] = [
    ["PUTFH", handle(fileSystem.root.handle)],
    [
      "GETATTR",
      (writer) => {
        writer.uint32(1);
        writer.uint32(0x11a);
      },
    ],
  ];
  const start = performance.now();
  for (let call = 0; call < GETATTRS; call++) {
    await session.call(steps);
  }
  return (GETATTRS / (performance.now() - start)) * 1000;
}
