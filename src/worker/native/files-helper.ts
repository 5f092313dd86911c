import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable, Writable } from "node:stream";
import { errnoName } from "../../native/errno.ts";
import { helperPath } from "../../native/helper.ts";
import { encodeMessage, MessageDecoder } from "../../native/message.ts";

/** A system call of `native/bb_files.c` failed. */
export class FilesHelperError extends Error {
  override readonly name = "FilesHelperError";
  /** Such as "ENOSPC". */
  readonly code: string;

  constructor([errno = "", reason = "", subject = ""]: readonly string[]) {
    super(`${subject}: ${reason}`);
    this.code = errnoName(Number(errno));
  }
}

/** One run of `native/bb_files.c`, which does what a request says, in a process of its own. */
export class FilesHelper {
  /**
   * Settles when the helper has ended: with its reply, "done" or "stale" and a key. Rejects with a
   * {@link FilesHelperError}, or with the signal's reason.
   */
  readonly reply: Promise<readonly string[]>;
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended = new AbortController();

  /** Strings are UTF-8; with "latin1", they hold one byte per char. */
  constructor(request: readonly string[], signal: AbortSignal, encoding: "utf8" | "latin1" = "utf8") {
    signal.throwIfAborted();
    this.#child = spawn(helperPath("bb_files"), [], {
      stdio: ["pipe", "pipe", "inherit"],
      cwd: "/",
      env: {},
    });
    this.reply = this.#reply(signal);
    // Whoever writes to it may see first that it has ended.
    this.reply.catch(() => {});
    this.#child.stdin?.on("error", () => {});
    this.#child.stdin?.write(encodeMessage(request, encoding));
  }

  /** Resolves when there is room for more: to false if the helper has ended. */
  async write(message: Buffer): Promise<boolean> {
    const { stdin } = this.#child;
    const ended = this.#ended.signal;
    if (!ended.aborted && !stdin.write(message)) {
      await once(stdin, "drain", { signal: ended }).catch(() => {});
    }
    return !ended.aborted;
  }

  async #reply(signal: AbortSignal): Promise<readonly string[]> {
    const child = this.#child;
    const decoder = new MessageDecoder();
    const end = () => child.kill("SIGKILL");
    signal.addEventListener("abort", end);
    try {
      let reply: string[] | undefined;
      child.stdout?.on("data", (chunk: Buffer) => {
        reply ??= decoder.push(chunk)[0];
      });
      const [code, killedBy] = await once(child, "close");
      signal.throwIfAborted();
      const [verb, ...rest] = reply ?? [];
      if (verb === undefined) {
        throw new Error(`bb_files ended without a reply (${killedBy ?? `exit code ${code}`})`);
      }
      if (verb === "failed") {
        throw new FilesHelperError(rest);
      }
      return [verb, ...rest];
    } finally {
      signal.removeEventListener("abort", end);
      this.#ended.abort();
    }
  }
}

/** Has a request without more messages done. Rejects as {@link FilesHelper.reply} does. */
export async function askFilesHelper(request: readonly string[], signal: AbortSignal): Promise<void> {
  await new FilesHelper(request, signal).reply;
}
