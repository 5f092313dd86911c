/** `node examples/nfs4-server/main.ts --help` */
import { parseArgs } from "node:util";
import { Gate, MemoryFileSystem, NfsServer, type NfsServerStatistics } from "../../src/nfs/index.ts";
import { greetings } from "./greetings.ts";

const HELP = `Usage: node examples/nfs4-server/main.ts [OPTION…]

Exports a file system by NFSv4.0, 4.1 and 4.2, and prints once a second which operations its clients called.
SIGINT (Ctrl-C) closes it; unmount before, or the mount hangs until there is a server again.

  --port PORT             the port to listen on; default: any that is free
  --host ADDRESS          the address to listen on; default 127.0.0.1
  --file-system KIND      memory (empty, writable; the default) or greetings (the file system of greetings.ts)
  --gate                  nobody sees anything but who mounts by the one-time name that is printed
  --any-port              with --gate: take connections from ports above 1023, too
  --utf8-names            refuse names that are not UTF-8
  --lease-seconds NUMBER  how long a silent client keeps its opens and locks for certain; default 90
  --help`;

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "0" },
    host: { type: "string", default: "127.0.0.1" },
    "file-system": { type: "string", default: "memory" },
    gate: { type: "boolean", default: false },
    "any-port": { type: "boolean", default: false },
    "utf8-names": { type: "boolean", default: false },
    "lease-seconds": { type: "string", default: "90" },
    help: { type: "boolean", default: false },
  },
});

if (values.help) {
  console.log(HELP);
} else {
  await run().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}

async function run(): Promise<void> {
  const gate = values.gate ? new Gate({ reservedPortsOnly: !values["any-port"] }) : undefined;
  const server = new NfsServer({
    fileSystem: fileSystem(values["file-system"]),
    ...(gate !== undefined && { gate }),
    delegations: true,
    utf8Names: values["utf8-names"],
    leaseSeconds: number("lease-seconds"),
  });
  const { host } = values;
  const port = await server.listen({ host, port: number("port") });
  const path = gate === undefined ? "/" : `/${gate.arm().name}`;
  console.log(`mount -t nfs4 -o port=${port},vers=4.2 ${host}:${path} /mnt`);
  const timer = setInterval(log(server), 1000);
  process.once("SIGINT", async () => {
    clearInterval(timer);
    await server.close();
  });
}

function fileSystem(kind: string) {
  if (kind === "memory") {
    return new MemoryFileSystem({ rootMode: 0o777 });
  }
  if (kind === "greetings") {
    return greetings(["Alice", "Bob"]);
  }
  throw new Error(`--file-system is ${kind}; expected memory or greetings`);
}

function number(option: "port" | "lease-seconds"): number {
  const value = Number(values[option]);
  if (!(value >= 0)) {
    throw new Error(`--${option} is ${values[option]}; expected a number`);
  }
  return value;
}

/** Prints what was called since it was called last, if anything. */
function log(server: NfsServer): () => void {
  let before: NfsServerStatistics["operations"] = {};
  return () => {
    const { operations, states } = server.statistics();
    const calls = Object.entries(operations)
      .map(([name, count]) => [name, count - (before[name as keyof typeof before] ?? 0)] as const)
      .filter(([, count]) => count > 0)
      .map(([name, count]) => `${name} ${count}`);
    if (calls.length > 0) {
      console.log(`${calls.join(", ")}; ${states} opens, locks and delegations`);
    }
    before = operations;
  };
}
