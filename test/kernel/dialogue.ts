import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/**
 * A program that is told one line after the other and answers each with one. The process of a test may serve what the
 * program uses: it must not wait for it in any other way.
 */
export class Dialogue implements AsyncDisposable {
  readonly #command: string;
  readonly #child: ChildProcess;
  readonly #lines: AsyncIterator<string>;
  #unanswered = 0;

  constructor(command: string, args: readonly string[] = []) {
    this.#command = command;
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"] });
    this.#lines = createInterface(this.#child.stdout!)[Symbol.asyncIterator]();
  }

  /** A shell in the folder. */
  static shell(folder: string): Dialogue {
    return new Dialogue("bash", ["-c", 'cd "$0" && exec bash -s', folder]);
  }

  /** The first line that it answers. */
  async ask(line: string): Promise<string> {
    this.#unanswered++;
    this.#child.stdin?.write(`${line}\n`);
    const { value, done } = await this.#lines.next();
    this.#unanswered--;
    if (done === true) {
      throw new Error(`${this.#command} ended at: ${line}`);
    }
    return value;
  }

  kill(): Promise<void> {
    return this.#end(() => this.#child.kill("SIGKILL"));
  }

  /** Ends its input, or by force what does not answer, and waits until it has ended. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#unanswered > 0 ? this.kill() : this.#end(() => this.#child.stdin?.end());
  }

  async #end(how: () => void): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const closed = once(this.#child, "close");
      how();
      await closed;
    }
  }
}
