import fs from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { kernelCanMountNfs } from "./host-kernel.ts";
import { FAILED } from "./job.ts";
import type { BootJob, Machine } from "./machine.ts";
import { qemu } from "./qemu.ts";
import { runInMachine } from "./run-in-machine.ts";
import { runNatively } from "./run-natively.ts";
import { userModeLinux } from "./user-mode-linux.ts";

const HELP = `Usage: npm run in-kernel -- [OPTION…] [--] COMMAND [ARGUMENT…]

Runs COMMAND where the kernel has an NFSv4 client: in user-mode Linux on a copy-on-write view of this
machine's files, or, where this machine's kernel has the client and you are root, here in a private mount
namespace. Output and exit status are COMMAND's; it sees the same folder and environment, and
IN_KERNEL=uml|qemu|native and IN_KERNEL_OUT=DIR.

  --out DIR          the one folder whose changes stay (default: a temporary one, removed at the end);
                     DIR/kernel.log receives the log of a kernel that was booted
  --timeout SECONDS  end a hung COMMAND with status 124 and the kernel's log (default 600)
  --memory SIZE      that kernel's memory, such as 512M or 4G (default 3G)
  --tap DEVICE       connect user-mode Linux's network device vec0 to this machine's tap DEVICE
  --tty              give COMMAND this terminal, for example for a shell: --tty bash
  --uml, --native    choose the kernel instead of looking
  --qemu             boot a distribution's kernel on an emulated machine: much slower, and as in production
  --kernel PACKAGE   for --qemu: a kernel that npm run fetch-kernel has fetched, or the folder into which one is
                     unpacked (default linux-image-cloud-amd64)
  --quiet            no progress notes on stderr
  --help             this text

Status 124: timed out. 125: the kernel could not start, or crashed. Else COMMAND's, 128+N for signal N.`;

const OPTIONS = {
  out: { type: "string" },
  timeout: { type: "string", default: "600" },
  memory: { type: "string", default: "3G" },
  tap: { type: "string" },
  tty: { type: "boolean", default: false },
  uml: { type: "boolean", default: false },
  native: { type: "boolean", default: false },
  qemu: { type: "boolean", default: false },
  kernel: { type: "string" },
  quiet: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

class UsageError extends Error {}

interface Invocation {
  readonly job: BootJob;
  /** Where it is to run. undefined: natively. */
  readonly machine: Machine | undefined;
}

function main(): void {
  try {
    const { job, machine } = readArguments(process.argv.slice(2));
    process.once("exit", () => fs.rmSync(job.folder, { recursive: true, force: true }));
    if (machine) {
      runInMachine(machine, job);
    } else {
      runNatively(job);
    }
  } catch (error) {
    const hint = error instanceof UsageError ? "\nSee npm run in-kernel -- --help" : "";
    process.stderr.write(`in-kernel: ${(error as Error).message}${hint}\n`);
    process.exitCode = FAILED;
  }
}

function readArguments(argv: string[]): Invocation {
  const { tokens } = parseArgs({ args: argv, options: OPTIONS, strict: false, tokens: true });
  const end = tokens.find((token) => token.kind !== "option");
  const own = argv.slice(0, end?.index);
  const command = end ? argv.slice(end.kind === "positional" ? end.index : end.index + 1) : [];
  const { values } = parseArgs({ args: own, options: OPTIONS });
  if (values.help) {
    process.stdout.write(`${HELP}\n`);
    process.exit(0);
  }
  if (command.length === 0) {
    throw new UsageError("which command?");
  }
  if (Number(values.uml) + Number(values.native) + Number(values.qemu) > 1) {
    throw new UsageError("--uml, --native or --qemu, not several");
  }
  if (values.kernel !== undefined && !values.qemu) {
    throw new UsageError("--kernel goes with --qemu");
  }
  if (values.tap !== undefined && (values.qemu || values.native)) {
    throw new UsageError("--tap goes with --uml");
  }
  const { timeout, memory } = values;
  if (!(Number(timeout) > 0)) {
    throw new UsageError(`--timeout ${timeout}: expected seconds, such as 60`);
  }
  if (!/^\d+[MG]$/.test(memory)) {
    throw new UsageError(`--memory ${memory}: expected such as 512M or 4G`);
  }
  if (values.tty && !process.stdin.isTTY) {
    throw new UsageError("--tty: stdin is not a terminal");
  }
  const folder = fs.mkdtempSync(join(tmpdir(), "in-kernel-"));
  const out = values.out === undefined ? join(folder, "out") : resolve(values.out);
  fs.mkdirSync(out, { recursive: true });
  const job: BootJob = {
    command,
    out,
    timeoutSeconds: Number(timeout),
    memory,
    tty: values.tty,
    folder,
    note: (text) => {
      if (!values.quiet) {
        process.stderr.write(`in-kernel: ${text}\n`);
      }
    },
  };
  return { job, machine: chooseMachine(values) };
}

function chooseMachine(values: {
  uml: boolean;
  native: boolean;
  qemu: boolean;
  kernel?: string | undefined;
  tap?: string | undefined;
}): Machine | undefined {
  if (values.qemu) {
    return qemu(values.kernel);
  }
  const native = values.native || (!values.uml && process.getuid?.() === 0 && kernelCanMountNfs());
  return native ? undefined : userModeLinux(values.tap);
}

main();
