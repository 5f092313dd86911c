import { get, type IncomingMessage } from "node:http";
import { createInterface } from "node:readline";

/** Reads server-sent events whose data is JSON. */
export async function readEvents(url: string) {
  const response = await new Promise<IncomingMessage>((resolve, reject) =>
    get(url, { agent: false }, resolve).on("error", reject),
  );
  response.on("error", () => {});
  const ended = new Promise<void>((resolve) => response.once("close", resolve));
  const lines = createInterface({ input: response })[Symbol.asyncIterator]();
  return {
    /** The data of the next event. */
    async next(): Promise<unknown> {
      for (;;) {
        const { value, done } = await lines.next();
        if (done) {
          throw new Error("the stream of events has ended");
        }
        if (value.startsWith("data: ")) {
          return JSON.parse(value.slice("data: ".length));
        }
      }
    },
    /** Resolves when the server has closed the connection. */
    ended,
    async [Symbol.asyncDispose]() {
      response.destroy();
    },
  };
}
