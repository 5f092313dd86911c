/** A command to be run where the kernel has an NFS client, and how. */
export interface Job {
  readonly command: readonly string[];
  /** Absolute path of the folder shared with the host. */
  readonly out: string;
  readonly timeoutSeconds: number;
  /** Private scratch folder of this run, removed at its end. */
  readonly folder: string;
  note(text: string): void;
}

export const TIMED_OUT = 124;
export const FAILED = 125;

/** What the command sees beside this process's own environment. */
export function environment(kernel: "uml" | "qemu" | "native", { out }: Job): NodeJS.ProcessEnv {
  return { ...process.env, IN_KERNEL: kernel, IN_KERNEL_OUT: out };
}

/** Has a signal that ends this process end the job with the status that a shell gives it. */
export function endOnSignal(end: (status: number) => void): void {
  process.once("SIGINT", () => end(130));
  process.once("SIGTERM", () => end(143));
  process.once("SIGHUP", () => end(129));
}
