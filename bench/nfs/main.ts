/**
 * `node bench/nfs/main.ts [SECONDS] [KIND…]`: operations per second and server CPU per operation of this server,
 * of a bare echo server with messages of the same size, and of NFS-Ganesha's MEM file system where the Debian
 * packages nfs-ganesha and nfs-ganesha-mem are installed. Interleaved, one server running at a time.
 */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileLoad, measure, type Reading, startNode, type Target } from "./target.ts";

/** Kinds with the number of what is counted in one (readdir: entries), and the echo that carries as much. */
const KINDS: Record<string, { units: number; echo: number; depths: number[] }> = {
  getattr: { units: 1, echo: 0, depths: [1, 16, 64] },
  lookup: { units: 1, echo: 0, depths: [1, 16, 64] },
  access: { units: 1, echo: 0, depths: [16, 64] },
  read4k: { units: 1, echo: 0, depths: [1, 16, 64] },
  openclose: { units: 1, echo: 0, depths: [1, 16] },
  createremove: { units: 1, echo: 0, depths: [1, 16] },
  readdir: { units: 1000, echo: 0, depths: [1] },
  read1m: { units: 1, echo: 1, depths: [1, 8] },
  write1m: { units: 1, echo: 2, depths: [1, 8] },
};
const ECHO_KINDS = ["echo", "echo-read1m", "echo-write1m"];
const GANESHA = "/usr/bin/ganesha.nfsd";

const seconds = Number(process.argv[2] ?? 1);
const chosen = process.argv.length > 3 ? process.argv.slice(3) : Object.keys(KINDS);
const directory = mkdtempSync(join(tmpdir(), "bench-nfs-"));
const load = join(directory, "load");
const targets: Target[] = [];

try {
  compileLoad(load);
  const ours = await startNode("server.ts");
  const echo = await startNode("echo-server.ts");
  targets.push(ours, echo);
  const ganesha = existsSync(GANESHA) ? await startGanesha() : undefined;
  if (ganesha === undefined) {
    console.log("without NFS-Ganesha: apt-get install nfs-ganesha nfs-ganesha-mem");
  }
  console.log(
    row("operation", "depth", "ops/s", "CPU µs", "echo /s", "CPU µs", "Ganesha", "CPU µs", "ops/CPU-s vs G."),
  );
  for (const kind of chosen) {
    const description = KINDS[kind];
    if (description === undefined) {
      throw new Error(`no kind ${kind}; there are ${Object.keys(KINDS).join(", ")}`);
    }
    const { units, depths } = description;
    for (const depth of depths) {
      const by = { load, seconds, depth };
      const own = measure(ours, ours.ports[0]!, kind, by, units);
      const bare = measure(echo, echo.ports[description.echo]!, ECHO_KINDS[description.echo]!, by, 1);
      const other = ganesha && measure(ganesha, ganesha.ports[0]!, kind, by, units);
      console.log(
        row(
          kind,
          depth,
          ...cells(own),
          ...cells(bare),
          ...cells(other),
          other && (other.cpu / own.cpu).toFixed(1),
        ),
      );
    }
  }
} finally {
  // NFS-Ganesha writes to the directory until it has ended.
  await Promise.all(
    targets.map(({ process: child }) => {
      const ended = child.exitCode === null ? once(child, "exit") : undefined;
      child.kill("SIGKILL");
      return ended;
    }),
  );
  rmSync(directory, { recursive: true, force: true });
}

async function startGanesha(): Promise<Target> {
  const port = await freePort();
  const configuration = join(directory, "ganesha.conf");
  writeFileSync(
    configuration,
    `NFS_CORE_PARAM { NFS_Port = ${port}; Protocols = 4; Bind_addr = 127.0.0.1; Enable_NLM = false; Enable_RQUOTA = false; }
     NFSV4 { Graceless = true; }
     EXPORT { Export_Id = 1; Path = /mem; Pseudo = /mem; Access_Type = RW; Squash = No_Root_Squash; SecType = sys; FSAL { Name = MEM; } }`,
  );
  const log = join(directory, "ganesha.log");
  const pidFile = join(directory, "ganesha.pid");
  const child = spawn(GANESHA, ["-F", "-f", configuration, "-L", log, "-N", "WARN", "-p", pidFile], {
    stdio: "ignore",
  });
  const target = { process: child, pid: child.pid!, ports: [port], exportName: "mem" };
  targets.push(target);
  for (let attempt = 0; ; attempt++) {
    try {
      execFileSync(load, [String(port), "getattr", "1", "0.01", "mem"], { stdio: "ignore" });
      return target;
    } catch {
      if (attempt === 100 || child.exitCode !== null) {
        throw new Error(`NFS-Ganesha does not answer: ${readFileSync(log, "utf8").slice(-2000)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function cells(reading: Reading | undefined): [string, string] {
  return reading === undefined ? ["-", "-"] : [reading.rate.toFixed(0), reading.cpu.toFixed(2)];
}

function row(name: string, ...values: (string | number | undefined)[]): string {
  return name.padEnd(14) + values.map((value) => String(value ?? "-").padStart(10)).join("");
}
