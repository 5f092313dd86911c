import type { InputDirectory, InputSource } from "../../cas/input-source.ts";
import type { Digest } from "../../reapi/digest.ts";
import type { ExecutionTimeout } from "./execution-timeout.ts";

/**
 * An input source that suspends the running actions' timeouts while something waits for storage. It cannot tell which
 * action of a mount waits, as they share the files, so all their clocks stop.
 */
export class SuspendingInputSource implements InputSource {
  readonly #base: InputSource;
  readonly #timeouts = new Set<ExecutionTimeout>();
  #waits = 0;

  constructor(base: InputSource) {
    this.#base = base;
  }

  add(timeout: ExecutionTimeout): void {
    this.#timeouts.add(timeout);
    if (this.#waits > 0) {
      timeout.suspend();
    }
  }

  delete(timeout: ExecutionTimeout): void {
    this.#timeouts.delete(timeout);
  }

  directory(digest: Digest): InputDirectory | Promise<InputDirectory> {
    const answer = this.#base.directory(digest);
    return answer instanceof Promise ? this.#wait(answer) : answer;
  }

  read(digest: Digest, offset: number, count: number): Uint8Array | Promise<Uint8Array> {
    const answer = this.#base.read(digest, offset, count);
    return answer instanceof Promise ? this.#wait(answer) : answer;
  }

  async #wait<T>(answer: Promise<T>): Promise<T> {
    if (this.#waits++ === 0) {
      for (const timeout of this.#timeouts) {
        timeout.suspend();
      }
    }
    try {
      return await answer;
    } finally {
      if (--this.#waits === 0) {
        for (const timeout of this.#timeouts) {
          timeout.resume();
        }
      }
    }
  }
}
