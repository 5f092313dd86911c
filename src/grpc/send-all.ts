/** The sending side of a stream of grpc-js: a client's or a server's. */
interface Outgoing<T> {
  readonly destroyed: boolean;
  write(item: T): boolean;
  end(): unknown;
  on(event: "drain", listener: () => void): unknown;
  off(event: "drain", listener: () => void): unknown;
}

/**
 * Writes the items, each when the stream has room for it, then ends the stream. Once `ended` aborts, as the other
 * side takes no more, nothing is written and the iteration is left, after its next item if it waits for one.
 * Rejects with what reading the items throws, and with nothing else.
 */
export async function sendAll<T>(
  items: AsyncIterable<T> | Iterable<T>,
  stream: Outgoing<T>,
  ended: AbortSignal,
): Promise<void> {
  for await (const item of items) {
    if (ended.aborted || stream.destroyed) {
      return;
    }
    if (!stream.write(item)) {
      await roomOrEnd(stream, ended);
      if (ended.aborted) {
        return;
      }
    }
  }
  stream.end();
}

function roomOrEnd(stream: Outgoing<never>, ended: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      stream.off("drain", done);
      ended.removeEventListener("abort", done);
      resolve();
    };
    stream.on("drain", done);
    ended.addEventListener("abort", done);
  });
}
