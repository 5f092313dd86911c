import { MAXIMUM_TIMER_MILLISECONDS } from "../../async/wait.ts";
import { StatusError, status } from "../../grpc/status.ts";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";

/** Aborts its signal with DEADLINE_EXCEEDED after so many milliseconds, unless it is disposed of first. */
export class UploadDeadline implements Disposable {
  readonly #expired = new AbortController();
  readonly #timer: NodeJS.Timeout;

  constructor(milliseconds: number) {
    const seconds = milliseconds / 1000;
    this.#timer = setTimeout(
      () => {
        const message = `it took longer than the ${seconds} s that uploading may take`;
        this.#expired.abort(new StatusError(status(Code.DEADLINE_EXCEEDED, message)));
      },
      Math.min(milliseconds, MAXIMUM_TIMER_MILLISECONDS),
    );
  }

  get signal(): AbortSignal {
    return this.#expired.signal;
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
  }
}
