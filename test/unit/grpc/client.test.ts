import assert from "node:assert/strict";
import { getEventListeners, once } from "node:events";
import { after, before, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { equals } from "@bufbuild/protobuf";
import type { ServiceError } from "@grpc/grpc-js";
import { Channel, credentials, Metadata, Server, ServerCredentials } from "@grpc/grpc-js";
import { BYTE_STREAM_CODECS } from "../../../src/grpc/byte-stream-codecs.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { openChannel } from "../../../src/grpc/endpoint.ts";
import type { Handlers } from "../../../src/grpc/handlers.ts";
import { addService } from "../../../src/grpc/handlers.ts";
import { packAny, StatusError, status, statusFromError } from "../../../src/grpc/status.ts";
import type { CompletedAction } from "../../../src/proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { CompletedActionLogger } from "../../../src/proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { ByteStream } from "../../../src/proto/gen/google/bytestream/bytestream_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../../../src/proto/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../../src/proto/gen/google/rpc/status_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus,
} from "../../../src/proto/gen/grpc/health/v1/health_pb.ts";

/** A status with details. */
const GONE = status(Code.FAILED_PRECONDITION, "Gone", [
  packAny(PreconditionFailureSchema, { violations: [{ type: "MISSING", subject: "blobs/00/1" }] }),
]);

/** What the server has seen, by name of the resource. */
const cancelled = new Map<string, number>();
const received = new Map<string, number>();

function count(counts: Map<string, number>, name: string): number {
  const value = (counts.get(name) ?? 0) + 1;
  counts.set(name, value);
  return value;
}

async function until(condition: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !condition(); i++) {
    await sleep(10);
  }
  assert.ok(condition(), "The condition did not come true within 5 s");
}

const health: Handlers<typeof Health> = {
  check(call, callback) {
    const { service } = call.request;
    if (service === "missing") {
      return callback(new StatusError(GONE));
    }
    if (service === "echo") {
      call.sendMetadata(new Metadata());
      return callback(null, { status: Number(call.metadata.get("x-status")[0]) as 1 });
    }
    if (service === "never") {
      return call.on("cancelled", () => count(cancelled, service));
    }
    callback(null, { status: HealthCheckResponse_ServingStatus.SERVING });
  },
};

const byteStream: Handlers<typeof ByteStream> = {
  /** Sends `readLimit` pieces, or pieces without end. */
  async read(call) {
    const { resourceName, readLimit } = call.request;
    call.on("cancelled", () => count(cancelled, resourceName));
    for (let i = 0n; !call.cancelled && (readLimit === 0n || i < readLimit); i++) {
      count(received, resourceName);
      if (!call.write({ data: Buffer.alloc(10_000, Number(i)) })) {
        await Promise.race([once(call, "drain"), once(call, "cancelled")]);
      }
    }
    if (resourceName === "fails") {
      call.emit("error", { code: Code.DATA_LOSS, details: "Damaged" });
    } else {
      call.end();
    }
  },

  async write(call, callback) {
    let size = 0;
    let name = "";
    call.on("cancelled", () => count(cancelled, name));
    for await (const request of call) {
      name = request.resourceName;
      size += request.data.length;
      count(received, name);
      if (name === "early") {
        return callback(null, { committedSize: -1n });
      }
      if (name === "refused") {
        return callback({ code: Code.RESOURCE_EXHAUSTED, details: "Full" });
      }
      if (name === "slow") {
        await sleep(2);
      }
    }
    callback(null, { committedSize: BigInt(size) });
  },
};

const logger: Handlers<typeof CompletedActionLogger> = {
  logCompletedActions(call) {
    call.on("cancelled", () => count(cancelled, "log"));
    call.on("data", ({ uuid }: CompletedAction) => {
      if (uuid === "refused") {
        call.emit("error", { code: Code.PERMISSION_DENIED, details: "No" });
      } else {
        call.write({});
      }
    });
    call.on("end", () => call.end());
  },
};

describe("a client and a server", () => {
  const server = new Server();
  let channel: Channel;
  let healthClient: ReturnType<typeof createClient<typeof Health>>;
  let bytes: ReturnType<typeof createClient<typeof ByteStream>>;
  let log: ReturnType<typeof createClient<typeof CompletedActionLogger>>;

  before(async () => {
    addService(server, Health, health);
    addService(server, ByteStream, byteStream, BYTE_STREAM_CODECS);
    addService(server, CompletedActionLogger, logger);
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      ),
    );
    channel = new Channel(`127.0.0.1:${port}`, credentials.createInsecure(), {});
    healthClient = createClient(Health, channel);
    bytes = createClient(ByteStream, channel, { codecs: BYTE_STREAM_CODECS });
    log = createClient(CompletedActionLogger, channel);
  });

  after(() => {
    channel.close();
    server.forceShutdown();
  });

  describe("unary", () => {
    it("answers", async () => {
      const response = await healthClient.check({ service: "" });
      assert.equal(response.status, HealthCheckResponse_ServingStatus.SERVING);
      assert.equal(response.$typeName, "grpc.health.v1.HealthCheckResponse");
    });

    it("sends metadata", async () => {
      const metadata = new Metadata();
      metadata.set("x-status", "2");
      assert.equal((await healthClient.check({ service: "echo" }, { metadata })).status, 2);
    });

    it("sends the endpoint's metadata with every call, beside the call's", async () => {
      const own = openChannel({ address: channel.getTarget(), metadata: [["x-status", "1"]] });
      after(() => own.close());
      const echo = createClient(Health, own);
      assert.equal((await echo.check({ service: "echo" })).status, 1);
      const other = new Metadata();
      other.set("x-other", "2");
      assert.equal((await echo.check({ service: "echo" }, { metadata: other })).status, 1);
      assert.equal(other.get("x-status").length, 0);
    });

    it("passes the server's status and its details on", async () => {
      const error = await rejection(healthClient.check({ service: "missing" }));
      assert.equal(error.code, Code.FAILED_PRECONDITION);
      assert.equal(error.details, "Gone");
      assert.ok(equals(StatusSchema, statusFromError(error), GONE));
    });

    it("fails with UNIMPLEMENTED where there is no handler", async () => {
      assert.equal((await rejection(healthClient.list({}))).code, Code.UNIMPLEMENTED);
    });

    it("fails with DEADLINE_EXCEEDED", async () => {
      const deadline = Date.now() + 50;
      assert.equal((await rejection(healthClient.check({ service: "never" }, { deadline }))).code, 4);
    });

    it("is cancelled by its signal and leaves no listener", async () => {
      const controller = new AbortController();
      const before = cancelled.get("never") ?? 0;
      const call = healthClient.check({ service: "never" }, { signal: controller.signal });
      await sleep(50);
      controller.abort();
      assert.equal((await rejection(call)).code, Code.CANCELLED);
      await until(() => (cancelled.get("never") ?? 0) > before);
      assert.equal(getEventListeners(controller.signal, "abort").length, 0);
    });

    it("fails at once if its signal has aborted", async () => {
      const call = healthClient.check({ service: "" }, { signal: AbortSignal.abort() });
      assert.equal((await rejection(call)).code, Code.CANCELLED);
    });

    it("fails with INTERNAL where a message cannot be encoded or decoded", async () => {
      const broken = {
        serialize: () => Buffer.from([0xff]),
        deserialize: () => {
          throw new Error("Undecodable");
        },
      };
      const unencodable = createClient(Health, channel, { codecs: { check: { request: broken } } });
      assert.equal((await rejection(unencodable.check({}))).code, Code.INTERNAL);
      const undecodable = createClient(Health, channel, { codecs: { check: { response: broken } } });
      assert.equal((await rejection(undecodable.check({}))).code, Code.INTERNAL);
      assert.equal((await healthClient.check({})).status, HealthCheckResponse_ServingStatus.SERVING);
    });
  });

  describe("server streaming", () => {
    it("yields every message, in order", async () => {
      const firstBytes: (number | undefined)[] = [];
      for await (const { data } of bytes.read({ resourceName: "five", readLimit: 5n })) {
        assert.equal(data.length, 10_000);
        firstBytes.push(data[0]);
      }
      assert.deepEqual(firstBytes, [0, 1, 2, 3, 4]);
    });

    it("is cancelled when the loop is left", async () => {
      const { signal } = new AbortController();
      for await (const _ of bytes.read({ resourceName: "left" }, { signal })) {
        break;
      }
      await until(() => cancelled.get("left") === 1);
      assert.equal(getEventListeners(signal, "abort").length, 0);
    });

    it("is not read faster than it is iterated", async () => {
      const responses = bytes.read({ resourceName: "unread" })[Symbol.asyncIterator]();
      await responses.next();
      await sleep(100);
      const sent = received.get("unread") ?? 0;
      await sleep(100);
      assert.equal(received.get("unread"), sent);
      await responses.return?.();
    });

    it("is cancelled by its signal", async () => {
      const controller = new AbortController();
      const error = await rejection(
        (async () => {
          for await (const _ of bytes.read({ resourceName: "aborted" }, { signal: controller.signal })) {
            controller.abort();
          }
        })(),
      );
      assert.equal(error.code, Code.CANCELLED);
      await until(() => cancelled.get("aborted") === 1);
      assert.equal(getEventListeners(controller.signal, "abort").length, 0);
    });

    it("yields what came before an error, then fails with it", async () => {
      let pieces = 0;
      const error = await rejection(
        (async () => {
          for await (const _ of bytes.read({ resourceName: "fails", readLimit: 3n })) {
            pieces++;
          }
        })(),
      );
      assert.equal(error.code, Code.DATA_LOSS);
      assert.equal(pieces, 3);
    });
  });

  describe("client streaming", () => {
    async function* pieces(resourceName: string, howMany: number, taken: { count: number; left?: boolean }) {
      try {
        for (; taken.count < howMany; taken.count++) {
          yield { resourceName, writeOffset: BigInt(taken.count * 10_000), data: Buffer.alloc(10_000) };
        }
      } finally {
        taken.left = true;
      }
    }

    it("sends every message", async () => {
      const { committedSize } = await bytes.write(pieces("whole", 100, { count: 0 }));
      assert.equal(committedSize, 1_000_000n);
    });

    it("takes no more from its source than the server accepts", async () => {
      const taken = { count: 0 };
      const call = bytes.write(pieces("slow", 300, taken));
      await until(() => (received.get("slow") ?? 0) >= 10);
      assert.ok(taken.count < 200, `${taken.count} pieces were taken`);
      assert.equal((await call).committedSize, 3_000_000n);
    });

    it("ends with the server's early answer and leaves the source", async () => {
      const taken: { count: number; left?: boolean } = { count: 0 };
      const { signal } = new AbortController();
      assert.equal((await bytes.write(pieces("early", Infinity, taken), { signal })).committedSize, -1n);
      await until(() => taken.left === true);
      assert.equal(getEventListeners(signal, "abort").length, 0);
    });

    it("ends with the server's early error and leaves the source", async () => {
      const taken: { count: number; left?: boolean } = { count: 0 };
      const error = await rejection(bytes.write(pieces("refused", Infinity, taken)));
      assert.equal(error.code, Code.RESOURCE_EXHAUSTED);
      await until(() => taken.left === true);
    });

    it("fails with what its source throws, and is cancelled", async () => {
      const failure = new Error("Source");
      const call = bytes.write(
        (async function* () {
          yield { resourceName: "throws" };
          await until(() => received.get("throws") === 1);
          throw failure;
        })(),
      );
      assert.equal(await rejection(call), failure);
      await until(() => cancelled.get("throws") === 1);
    });

    it("is cancelled by its signal while the source has nothing", async () => {
      const controller = new AbortController();
      const call = bytes.write(
        (async function* () {
          yield { resourceName: "waits" };
          await new Promise(() => {});
        })(),
        { signal: controller.signal },
      );
      await until(() => received.get("waits") === 1);
      controller.abort();
      assert.equal((await rejection(call)).code, Code.CANCELLED);
    });
  });

  describe("bidirectional streaming", () => {
    it("answers each message before the next is sent", async () => {
      let answers = 0;
      async function* actions() {
        for (let i = 0; i < 5; i++) {
          await until(() => answers === i);
          yield { uuid: String(i) };
        }
      }
      for await (const answer of log.logCompletedActions(actions())) {
        assert.equal(answer.$typeName, "google.protobuf.Empty");
        answers++;
      }
      assert.equal(answers, 5);
    });

    it("fails with the server's error", async () => {
      const call = all(log.logCompletedActions([{ uuid: "a" }, { uuid: "refused" }]));
      assert.equal((await rejection(call)).code, Code.PERMISSION_DENIED);
    });

    it("fails with what its source throws, and is cancelled", async () => {
      const failure = new Error("Source");
      async function* actions() {
        yield { uuid: "a" };
        throw failure;
      }
      const before = cancelled.get("log") ?? 0;
      assert.equal(await rejection(all(log.logCompletedActions(actions()))), failure);
      await until(() => (cancelled.get("log") ?? 0) > before);
    });

    it("is cancelled when the loop is left, and leaves the source", async () => {
      let left = false;
      async function* actions() {
        try {
          for (;;) {
            yield { uuid: "a".repeat(10_000) };
          }
        } finally {
          left = true;
        }
      }
      const before = cancelled.get("log") ?? 0;
      for await (const _ of log.logCompletedActions(actions())) {
        break;
      }
      await until(() => left && (cancelled.get("log") ?? 0) > before);
    });
  });
});

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const result: T[] = [];
  for await (const item of items) {
    result.push(item);
  }
  return result;
}

async function rejection(promise: Promise<unknown>): Promise<ServiceError> {
  try {
    await promise;
  } catch (error) {
    return error as ServiceError;
  }
  assert.fail("The call should have failed");
}
