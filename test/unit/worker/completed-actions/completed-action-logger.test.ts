import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { create } from "@bufbuild/protobuf";
import type { Empty } from "@bufbuild/protobuf/wkt";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { createClient } from "../../../../src/grpc/client.ts";
import { addService } from "../../../../src/grpc/handlers.ts";
import {
  type CompletedAction,
  CompletedActionSchema,
  CompletedActionLogger as Service,
} from "../../../../src/proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { createLog } from "../../../../src/telemetry/log.ts";
import {
  CompletedActionLogger,
  type CompletedActionLoggerOptions,
} from "../../../../src/worker/completed-actions/completed-action-logger.ts";
import { serve } from "../fakes.ts";

type Call = ServerDuplexStream<CompletedAction, Partial<Empty>>;

/** One stream from a logger, as a server that does nothing by itself sees it. */
class Stream {
  readonly #call: Call;
  readonly #received: string[] = [];
  #arrived = Promise.withResolvers<void>();
  readonly cancelled: Promise<unknown>;

  constructor(call: Call) {
    this.#call = call;
    this.cancelled = new Promise((resolve) => call.on("cancelled", resolve));
    call.on("data", ({ uuid }: CompletedAction) => {
      this.#received.push(uuid);
      this.#arrived.resolve();
      this.#arrived = Promise.withResolvers();
    });
  }

  /** The uuids of the next actions that come. */
  async receive(count: number): Promise<string[]> {
    while (this.#received.length < count) {
      await this.#arrived.promise;
    }
    return this.#received.splice(0, count);
  }

  acknowledge(count = 1): void {
    for (let i = 0; i < count; i++) {
      this.#call.write({});
    }
  }

  /** Ends the stream without an error. */
  end(): void {
    this.#call.end();
  }

  fail(): void {
    this.#call.emit("error", { code: 14, details: "as the test wants" });
  }
}

async function prepare(test: TestContext, options: Partial<CompletedActionLoggerOptions> = {}) {
  const streams: PromiseWithResolvers<Stream>[] = [];
  const slot = (index: number) => {
    streams[index] ??= Promise.withResolvers();
    return streams[index];
  };
  let arrived = 0;
  let taken = 0;
  const server = await serve((server) =>
    addService(server, Service, {
      logCompletedActions: (call) => slot(arrived++).resolve(new Stream(call as Call)),
    }),
  );
  const lines: string[] = [];
  const logger = new CompletedActionLogger({
    client: createClient(Service, server.channel),
    maximumQueueSize: 100,
    log: createLog("info", (line) => lines.push(line)),
    maximumBackoff: 1,
    flushTimeout: 0,
    ...options,
  });
  test.after(async () => {
    await logger[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  return {
    logger,
    lines,
    log: (...uuids: string[]) => {
      for (const uuid of uuids) {
        logger.logCompletedAction(create(CompletedActionSchema, { uuid }));
      }
    },
    /** The next stream that the logger opens. */
    stream: () => slot(taken++).promise,
  };
}

describe("CompletedActionLogger", () => {
  it("sends what is queued and what follows, and waits for no acknowledgement in between", async (test) => {
    const { log, stream, logger } = await prepare(test);
    log("a", "b");
    const first = await stream();
    assert.deepEqual(await first.receive(2), ["a", "b"]);
    log("c");
    assert.deepEqual(await first.receive(1), ["c"]);
    assert.deepEqual(logger.counts, { queued: 3, discarded: 0, sent: 3, acknowledged: 0 });
  });

  for (const [how, lose] of [
    ["fails", (stream: Stream) => stream.fail()],
    ["is ended by the server", (stream: Stream) => stream.end()],
  ] as const) {
    it(`sends again, in order, what was not acknowledged when a stream ${how}`, async (test) => {
      const { log, stream, lines, logger } = await prepare(test);
      log("a", "b", "c");
      const first = await stream();
      await first.receive(3);
      first.acknowledge();
      lose(first);
      const second = await stream();
      assert.deepEqual(await second.receive(2), ["b", "c"]);
      log("d");
      assert.deepEqual(await second.receive(1), ["d"]);
      second.acknowledge(3);
      lose(second);
      const third = await stream();
      log("e");
      assert.deepEqual(await third.receive(1), ["e"]);
      assert.deepEqual(logger.counts, { queued: 5, discarded: 0, sent: 7, acknowledged: 4 });
      assert.match(lines[0]!, / warn cannot report completed actions: /);
      assert.match(lines[1]!, / info completed actions are reported again/);
    });
  }

  it("loses nothing over many streams that end at any time", async (test) => {
    const { log, stream } = await prepare(test);
    const uuids = Array.from({ length: 60 }, (_, index) => `${index}`);
    const acknowledged: string[] = [];
    for (let next = 0; acknowledged.length < uuids.length; ) {
      const current = await stream();
      log(...uuids.slice(next, next + 7));
      next += 7;
      const pending = Math.min(next, uuids.length) - acknowledged.length;
      const received = await current.receive(pending);
      const count = Math.min(pending, (next * 5) % 9);
      current.acknowledge(count);
      acknowledged.push(...received.slice(0, count));
      current.fail();
    }
    assert.deepEqual(acknowledged, uuids);
  });

  it("drops a new action while the queue is full of what is not acknowledged", async (test) => {
    const { log, stream, lines, logger } = await prepare(test, { maximumQueueSize: 2 });
    const first = await stream();
    log("a", "b", "c");
    assert.deepEqual(await first.receive(2), ["a", "b"]);
    log("d");
    assert.equal(logger.counts.discarded, 2);
    assert.match(lines.at(-1)!, / warn a completed action is not reported.* discarded=2/);
    first.acknowledge();
    // The acknowledgement has come when the action behind it is sent again as the only one.
    first.fail();
    const second = await stream();
    assert.deepEqual(await second.receive(1), ["b"]);
    log("e");
    assert.deepEqual(await second.receive(1), ["e"]);
  });

  it("gives up a stream on which more is acknowledged than was sent", async (test) => {
    const { log, stream, lines, logger } = await prepare(test);
    log("a");
    const first = await stream();
    await first.receive(1);
    first.acknowledge(2);
    await first.cancelled;
    const second = await stream();
    assert.match(lines.join(""), /acknowledged an action that was not sent/);
    log("b");
    assert.deepEqual(await second.receive(1), ["b"]);
    assert.equal(logger.counts.acknowledged, 1);
  });

  it("waits at its end for what is not acknowledged", async (test) => {
    const { log, stream, logger, lines } = await prepare(test, { flushTimeout: 1e9 });
    log("a", "b");
    const first = await stream();
    await first.receive(2);
    const ended = logger[Symbol.asyncDispose]();
    // A stream that is lost meanwhile is followed by another.
    first.acknowledge();
    first.fail();
    const second = await stream();
    assert.deepEqual(await second.receive(1), ["b"]);
    second.acknowledge();
    await ended;
    assert.match(lines.at(-1)!, /queued=2 .*acknowledged=2/);
    assert.doesNotMatch(lines.join(""), /may be lost/);
  });

  it("cuts its pause short at its end", async (test) => {
    const { log, stream, logger } = await prepare(test, { flushTimeout: 1e9, maximumBackoff: 2e9 });
    log("a");
    (await stream()).fail();
    const ended = logger[Symbol.asyncDispose]();
    const second = await stream();
    await second.receive(1);
    second.acknowledge();
    await ended;
  });

  it("waits at its end no longer than it may, and not at all where nothing is left", async (test) => {
    const { log, stream, logger, lines } = await prepare(test, { flushTimeout: 1 });
    log("a");
    const first = await stream();
    await first.receive(1);
    await logger[Symbol.asyncDispose]();
    await first.cancelled;
    assert.match(lines.join(""), /may be lost actions=1/);

    const other = await prepare(test, { flushTimeout: 1e9 });
    await other.stream();
    await other.logger[Symbol.asyncDispose]();
  });
});
