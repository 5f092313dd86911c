import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { Metadata, Server, ServerCredentials, type ServerDuplexStream } from "@grpc/grpc-js";
import { unauthenticated } from "../../../src/authentication/error.ts";
import { authenticating } from "../../../src/authentication/grpc-interceptor.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { type GrpcEndpoint, openChannel } from "../../../src/grpc/endpoint.ts";
import {
  addService,
  type CallContext,
  clientStreaming,
  serverStreaming,
  unary,
} from "../../../src/grpc/handlers.ts";
import { addRelays } from "../../../src/grpc/services/relay.ts";
import { failure, packAny, StatusError, status, statusFromError } from "../../../src/grpc/status.ts";
import { CompletedActionLogger } from "../../../src/proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { OperationQueue } from "../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { TemporaryDirectoryInstaller } from "../../../src/proto/gen/buildbarn/tmp_installer/tmp_installer_pb.ts";
import { ByteStream, type WriteRequest } from "../../../src/proto/gen/google/bytestream/bytestream_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { StatusSchema } from "../../../src/proto/gen/google/rpc/status_pb.ts";

async function start(server: Server, resources: DisposableStack): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  );
  resources.defer(() => server.forceShutdown());
  return `127.0.0.1:${await promise}`;
}

/** A server behind a relay, whose handlers a test may set, and a channel to the relay. */
async function prepare(endpoint: Partial<GrpcEndpoint> = {}) {
  const resources = new DisposableStack();
  const behind = new Server({ "grpc.max_receive_message_length": -1 });
  const address = await start(behind, resources);
  const relay = new Server({
    "grpc.max_receive_message_length": -1,
    interceptors: [
      authenticating(async (peer) => {
        if (peer.header("x-user")[0] === "stranger") {
          throw unauthenticated("no strangers");
        }
        return { public: "kermit" };
      }),
    ],
  });
  addService(relay, TemporaryDirectoryInstaller, { checkReadiness: unary(() => ({})) });
  addRelays(
    relay,
    [
      {
        endpoint: { address, ...endpoint },
        services: [ByteStream, Runner, CompletedActionLogger, TemporaryDirectoryInstaller].map(
          ({ typeName }) => typeName,
        ),
      },
    ],
    resources,
  );
  const channel = resources.adopt(openChannel({ address: await start(relay, resources) }), (each) =>
    each.close(),
  );
  return { behind, channel, [Symbol.dispose]: () => resources.dispose() };
}

const MEBIBYTE = new Uint8Array(2 ** 20).fill(7);

describe("a relay", () => {
  it("passes on calls of every kind, with as many messages as they have", async () => {
    using relayed = await prepare();
    addService(relayed.behind, ByteStream, {
      queryWriteStatus: unary(() => ({ committedSize: 5n, complete: true })),
      read: serverStreaming(async function* () {
        for (let index = 0; index < 20; index++) {
          yield { data: MEBIBYTE };
        }
      }),
      write: clientStreaming(async (requests: AsyncIterable<WriteRequest>) => {
        let committedSize = 0n;
        for await (const { data } of requests) {
          committedSize += BigInt(data.length);
        }
        return { committedSize };
      }),
    });
    addService(relayed.behind, CompletedActionLogger, {
      logCompletedActions: (call: ServerDuplexStream<unknown, object>) => {
        call.on("data", () => call.write({}));
        call.on("end", () => call.end());
      },
    });
    const byteStream = createClient(ByteStream, relayed.channel);
    assert.equal((await byteStream.queryWriteStatus({ resourceName: "x" })).committedSize, 5n);
    let bytes = 0;
    for await (const { data } of byteStream.read({ resourceName: "x" })) {
      bytes += data.length;
    }
    assert.equal(bytes, 20 * MEBIBYTE.length);
    const requests = Array(20).fill({ data: MEBIBYTE });
    assert.equal((await byteStream.write(requests)).committedSize, BigInt(20 * MEBIBYTE.length));
    const logger = createClient(CompletedActionLogger, relayed.channel);
    let answers = 0;
    for await (const _ of logger.logCompletedActions([{ uuid: "a" }, { uuid: "b" }])) {
      answers++;
    }
    assert.equal(answers, 2);
  });

  it("answers what it can by itself, and has no route for other services", async () => {
    using relayed = await prepare();
    addService(relayed.behind, Runner, { run: unary(() => ({ exitCode: 3n })) });
    await createClient(TemporaryDirectoryInstaller, relayed.channel).checkReadiness({});
    assert.equal((await createClient(Runner, relayed.channel).run({})).exitCode, 3n);
    await assert.rejects(createClient(OperationQueue, relayed.channel).synchronize({}), { code: 12 });
    await assert.rejects(createClient(ByteStream, relayed.channel).queryWriteStatus({}), { code: 12 });
  });

  it("lets nobody through whom its own server does not", async () => {
    using relayed = await prepare();
    addService(relayed.behind, Runner, { run: unary(() => assert.fail("called")) });

    const metadata = new Metadata();
    metadata.set("x-user", "stranger");
    await assert.rejects(createClient(Runner, relayed.channel).run({}, { metadata }), {
      code: 16,
      details: "no strangers",
    });
  });

  it("passes on a status with its details, after all messages before it", async () => {
    using relayed = await prepare();
    const detail = packAny(StatusSchema, { message: "a detail" });
    addService(relayed.behind, ByteStream, {
      read: serverStreaming(async function* () {
        yield { data: MEBIBYTE };
        throw new StatusError(status(Code.DATA_LOSS, "lost", [detail]));
      }),
    });
    const received: number[] = [];
    const reading = (async () => {
      for await (const { data } of createClient(ByteStream, relayed.channel).read({})) {
        received.push(data.length);
      }
    })();
    await assert.rejects(reading, (error) => {
      const { code, message, details } = statusFromError(error);
      assert.deepEqual([code, message, details.length], [Code.DATA_LOSS, "lost", 1]);
      return true;
    });
    assert.deepEqual(received, [MEBIBYTE.length]);
  });

  it("passes on no headers but those that the endpoint makes of them", async () => {
    const expression = "{user: [authenticationMetadata.public], agent: incomingGRPCMetadata.agent}";
    using relayed = await prepare({ metadataExpression: { expression, files: [] } });
    const seen: unknown[] = [];
    addService(relayed.behind, Runner, {
      run: unary((_request, { metadata }) => {
        seen.push(...["user", "agent", "secret"].map((name) => metadata.get(name)));
        return {};
      }),
    });

    const metadata = new Metadata();
    metadata.set("agent", "007");
    metadata.set("secret", "x");
    await createClient(Runner, relayed.channel).run({}, { metadata });
    assert.deepEqual(seen, [["kermit"], ["007"], []]);
  });

  it("says why the endpoint's headers cannot be had", async () => {
    using relayed = await prepare({ metadataExpression: { expression: "nothing", files: [] } });
    await assert.rejects(createClient(Runner, relayed.channel).run({}), {
      code: 5,
      details: /^Failed to extract metadata/,
    });
  });

  it("passes on that a client gives up, and its deadline, where the server behind hangs", async () => {
    using relayed = await prepare();
    const calls: PromiseWithResolvers<CallContext>[] = [Promise.withResolvers(), Promise.withResolvers()];
    let count = 0;
    addService(relayed.behind, Runner, {
      run: unary((_request, context) => {
        calls[count++]!.resolve(context);
        return new Promise<object>(() => {});
      }),
    });
    const runner = createClient(Runner, relayed.channel);
    const controller = new AbortController();
    const given = runner.run({}, { signal: controller.signal });
    const { signal } = await calls[0]!.promise;
    controller.abort();
    await assert.rejects(given, { code: 1 });
    if (!signal.aborted) {
      await once(signal, "abort");
    }
    await assert.rejects(runner.run({}, { deadline: Date.now() + 200 }), { code: 4 });
  });

  it("is UNAVAILABLE where the server behind is, or goes away in the middle", async () => {
    using relayed = await prepare();
    const started = Promise.withResolvers<void>();
    addService(relayed.behind, ByteStream, {
      read: serverStreaming(async function* () {
        yield { data: MEBIBYTE };
        started.resolve();
        await new Promise(() => {});
      }),
      queryWriteStatus: unary(() => {
        throw failure(Code.INTERNAL, "still there");
      }),
    });
    const byteStream = createClient(ByteStream, relayed.channel);
    const reading = (async () => {
      for await (const _ of byteStream.read({})) {
        relayed.behind.forceShutdown();
      }
    })();
    await started.promise;
    await assert.rejects(reading, ({ code }: { code: number }) => [1, 13, 14].includes(code));
    await assert.rejects(byteStream.queryWriteStatus({}), { code: 14 });
  });
});
