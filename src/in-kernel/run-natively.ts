import { spawn } from "node:child_process";
import { endOnSignal, environment, FAILED, type Job, TIMED_OUT } from "./job.ts";

/** Runs the command on this machine's kernel, in a mount and a PID namespace of its own; sets the exit code. */
export function runNatively(job: Job): void {
  const namespaces = ["--mount", "--propagation=private", "--pid", "--fork", "--mount-proc", "--kill-child"];
  // The shell is the namespace's first process, so that the command itself has no first process's duties.
  const child = spawn("unshare", [...namespaces, "sh", "-c", '"$@"; exit $?', "sh", ...job.command], {
    stdio: "inherit",
    env: environment("native", job),
  });
  let status: number | undefined;
  const end = (newStatus: number) => {
    status ??= newStatus;
    child.kill("SIGKILL");
  };
  endOnSignal(end);
  const timer = setTimeout(() => {
    job.note(`no end after ${job.timeoutSeconds} s: killed`);
    end(TIMED_OUT);
  }, job.timeoutSeconds * 1000);
  child.once("error", (error) => {
    process.stderr.write(`in-kernel: cannot run unshare (util-linux): ${error.message}\n`);
    end(FAILED);
  });
  child.once("close", (code) => {
    clearTimeout(timer);
    process.exitCode = status ?? code ?? FAILED;
  });
}
