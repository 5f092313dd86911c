import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { fromBinary } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { Metadata } from "@grpc/grpc-js";
import type { CallOptions } from "../../../src/grpc/client.ts";
import { packAny, statusFromError } from "../../../src/grpc/status.ts";
import {
  ExecuteOperationMetadataSchema,
  type ExecuteRequest,
  type ExecuteResponse,
  ExecuteResponseSchema,
  ExecutionStage_Value,
  RequestMetadataSchema,
} from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { Operation } from "../../../src/proto/gen/google/longrunning/operations_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { PreconditionFailureSchema } from "../../../src/proto/gen/google/rpc/error_details_pb.ts";
import type { Digest } from "../../../src/reapi/digest.ts";
import { DIGEST_FUNCTIONS } from "../../../src/reapi/digest.ts";
import { digestMessage } from "../../../src/reapi/wire-digest.ts";
import {
  completed,
  desired,
  FakeWorker,
  idle,
  putAction,
  running,
  startTestCluster,
  type TestCluster,
} from "./harness.ts";

const { QUEUED, EXECUTING, COMPLETED } = ExecutionStage_Value;

/** A client that follows an execution. */
class Execution {
  readonly #operations: AsyncIterator<Operation>;

  constructor(
    cluster: TestCluster,
    actionDigest: Digest,
    request: Partial<Pick<ExecuteRequest, "instanceName" | "skipCacheLookup">> = {},
    options?: CallOptions,
  ) {
    this.#operations = cluster.execution
      .execute({ actionDigest: digestMessage(actionDigest), ...request }, options)
      [Symbol.asyncIterator]();
  }

  async next(): Promise<Operation> {
    const { value, done } = await this.#operations.next();
    assert.ok(!done, "the stream of operations ended");
    return value;
  }

  async nextStage(): Promise<ExecutionStage_Value> {
    return stageOf(await this.next());
  }

  /** The response, with whatever stages come before it. */
  async response(): Promise<ExecuteResponse> {
    for (;;) {
      const operation = await this.next();
      if (operation.done) {
        return responseOf(operation);
      }
    }
  }
}

function stageOf({ metadata }: Operation): ExecutionStage_Value {
  return anyUnpack(metadata!, ExecuteOperationMetadataSchema)!.stage;
}

function responseOf({ result }: Operation): ExecuteResponse {
  assert.equal(result.case, "response");
  return anyUnpack(result.value as never, ExecuteResponseSchema)!;
}

/** A worker that has been seen by the scheduler and is idle. */
async function knownWorker(
  cluster: TestCluster,
  name = "one",
  identity?: ConstructorParameters<typeof FakeWorker>[2],
): Promise<FakeWorker> {
  const worker = new FakeWorker(cluster, name, identity);
  await worker.synchronize(idle, { preferBeingIdle: true });
  return worker;
}

suite("Execute", { timeout: 120_000 }, () => {
  test("goes through its stages", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a", { timeout: { seconds: 42n } });
    const execution = new Execution(cluster, action);
    assert.equal(await execution.nextStage(), QUEUED);

    const answer = await worker.synchronize(idle);
    assert.equal(desired(answer), action.hash);
    const order = answer.desiredState!.workerState.value;
    assert.ok(order?.$typeName === "buildbarn.remoteworker.DesiredState.Executing");
    assert.equal(order.action?.timeout?.seconds, 42n);
    assert.equal(order.digestFunction, 1);
    assert.ok(order.queuedTimestamp);
    assert.equal(await execution.nextStage(), EXECUTING);

    assert.equal(desired(await worker.synchronize(running(action))), undefined);
    await worker.synchronize(completed(action, 7), { preferBeingIdle: true });
    const operation = await execution.next();
    assert.equal(stageOf(operation), COMPLETED);
    assert.equal(responseOf(operation).result?.exitCode, 7);
    assert.equal(cluster.server.queue.statistics().completed, 1);
  });

  test("gives work at once to a worker that waits for it", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const waiting = worker.synchronize(idle);
    const action = await putAction(cluster, "a");
    const execution = new Execution(cluster, action);
    await execution.next();
    assert.equal(desired(await waiting), action.hash);
  });

  test("serves first who came first", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const actions = [];
    for (const name of ["a", "b", "c"]) {
      const action = await putAction(cluster, name);
      await new Execution(cluster, action).next();
      actions.push(action);
    }
    assert.equal(desired(await worker.synchronize(idle)), actions[0]!.hash);
    assert.equal(desired(await worker.synchronize(completed(actions[0]!))), actions[1]!.hash);
    assert.equal(desired(await worker.synchronize(completed(actions[1]!))), actions[2]!.hash);
    assert.equal(cluster.server.queue.statistics().maximumExecuting, 1);
  });

  test("answers from the action cache, unless told not to", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    await cluster.actionCache.updateActionResult({
      actionDigest: digestMessage(action),
      actionResult: { exitCode: 5 },
    });
    const response = await new Execution(cluster, action).response();
    assert.deepEqual([response.cachedResult, response.result?.exitCode], [true, 5]);

    const execution = new Execution(cluster, action, { skipCacheLookup: true });
    assert.equal(await execution.nextStage(), QUEUED);
    assert.equal(desired(await worker.synchronize(idle)), action.hash);
  });

  test("executes once what is asked for twice at the same time", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const executions = [new Execution(cluster, action), new Execution(cluster, action)];
    await Promise.all(executions.map((execution) => execution.next()));
    assert.equal(desired(await worker.synchronize(idle)), action.hash);
    const late = new Execution(cluster, action);
    assert.equal(await late.nextStage(), EXECUTING);
    const answer = await worker.synchronize(completed(action, 3), { preferBeingIdle: true });
    assert.equal(desired(answer), "idle");
    for (const execution of [...executions, late]) {
      assert.equal((await execution.response()).result?.exitCode, 3);
    }
    const { deduplicated, queued } = cluster.server.queue.statistics();
    assert.deepEqual([deduplicated, queued], [2, 0]);
  });

  test("executes each time what must not be cached", async () => {
    await using cluster = await startTestCluster();
    await knownWorker(cluster);
    const action = await putAction(cluster, "a", { doNotCache: true });
    await new Execution(cluster, action).next();
    await new Execution(cluster, action).next();
    assert.equal(cluster.server.queue.statistics().queued, 2);
  });

  test("passes on who asked, and the trace", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const metadata = new Metadata();
    const requestMetadata = packAny(RequestMetadataSchema, { targetId: "//some:target" });
    metadata.set("build.bazel.remote.execution.v2.requestmetadata-bin", Buffer.from(requestMetadata.value));
    metadata.set("traceparent", "00-11111111111111111111111111111111-2222222222222222-01");
    await new Execution(cluster, action, {}, { metadata }).next();
    const order = (await worker.synchronize(idle)).desiredState!.workerState.value;
    assert.ok(order?.$typeName === "buildbarn.remoteworker.DesiredState.Executing");
    assert.equal(
      fromBinary(RequestMetadataSchema, order.auxiliaryMetadata[0]!.value).targetId,
      "//some:target",
    );
    assert.match(order.w3cTraceContext.traceparent!, /^00-1/);
  });

  test("names the action that is missing, so that the client uploads it", async () => {
    await using cluster = await startTestCluster();
    await knownWorker(cluster);
    const hash = "a".repeat(64);
    const execution = new Execution(cluster, (await putAction(cluster, "a")) && digestWithHash(hash));
    await assert.rejects(execution.next(), (error) => {
      const status = statusFromError(error);
      assert.equal(status.code, Code.FAILED_PRECONDITION);
      const failure = anyUnpack(status.details[0]!, PreconditionFailureSchema);
      assert.deepEqual(
        failure?.violations.map(({ type, subject }) => [type, subject]),
        [["MISSING", `blobs/${hash}/3`]],
      );
      return true;
    });
  });

  test("refuses a timeout out of bounds", async () => {
    await using cluster = await startTestCluster();
    await knownWorker(cluster);
    const action = await putAction(cluster, "a", { timeout: { seconds: 1_000_000n } });
    await assert.rejects(new Execution(cluster, action).next(), {
      code: Code.INVALID_ARGUMENT,
      details: "Execution timeout of 1000000s is outside permitted range [0s, 86400s]",
    });
  });
});

function digestWithHash(hash: string): Digest {
  return { instanceName: "", function: { value: 1 } as Digest["function"], hash, sizeBytes: 3 };
}

suite("Platforms", { timeout: 120_000 }, () => {
  const linux = { properties: [{ name: "OSFamily", value: "linux" }] };

  test("an action goes to workers of its platform and of the longest instance name prefix", async () => {
    await using cluster = await startTestCluster();
    const plain = await knownWorker(cluster, "plain");
    const wide = await knownWorker(cluster, "wide", { instanceNamePrefix: "a", platform: linux });
    const narrow = await knownWorker(cluster, "narrow", { instanceNamePrefix: "a/b", platform: linux });
    const action = await putAction(cluster, "linux", { platform: linux });
    const olderAction = await putAction(cluster, "older", {}, { platform: linux });
    await new Execution(cluster, action, { instanceName: "a/b/c" }).next();
    await new Execution(cluster, olderAction, { instanceName: "a/bb" }).next();

    const order = (await narrow.synchronize(idle)).desiredState!.workerState.value;
    assert.ok(order?.$typeName === "buildbarn.remoteworker.DesiredState.Executing");
    assert.deepEqual([order.actionDigest?.hash, order.instanceNameSuffix], [action.hash, "c"]);
    assert.equal(desired(await wide.synchronize(idle)), olderAction.hash);
    assert.equal(cluster.server.queue.statistics().queued, 0);
    assert.equal(desired(await plain.synchronize(idle, { preferBeingIdle: true })), "idle");
  });

  test("an action that no worker can execute fails; right after the start, for now only", async () => {
    for (const [startupGrace, code] of [
      [0, Code.FAILED_PRECONDITION],
      [60_000, Code.UNAVAILABLE],
    ] as const) {
      await using cluster = await startTestCluster({ scheduler: { startupGrace } });
      await knownWorker(cluster);
      const action = await putAction(cluster, "a", { platform: linux });
      await assert.rejects(new Execution(cluster, action, { instanceName: "x" }).next(), {
        code,
        details:
          'No workers exist for instance name prefix "x" platform {"properties":[{"name":"OSFamily","value":"linux"}]}',
      });
    }
  });

  test("properties have to be in order", async () => {
    await using cluster = await startTestCluster();
    const properties = [
      { name: "b", value: "" },
      { name: "a", value: "" },
    ];
    await assert.rejects(knownWorker(cluster, "one", { platform: { properties } }), {
      code: Code.INVALID_ARGUMENT,
    });
  });
});

suite("Workers", { timeout: 120_000 }, () => {
  test("an action can be had again by the worker that lost it, but not for ever", async () => {
    await using cluster = await startTestCluster({ scheduler: { workerTaskRetryCount: 2 } });
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const execution = new Execution(cluster, action);
    await execution.next();
    for (let i = 0; i < 3; i++) {
      assert.equal(desired(await worker.synchronize(idle)), action.hash);
    }
    assert.equal(desired(await worker.synchronize(idle, { preferBeingIdle: true })), "idle");
    const { status } = await execution.response();
    assert.equal(status?.code, Code.INTERNAL);
    assert.match(status.message, /^Attempted to execute task 3 times, but it never completed/);
  });

  test("a worker that disappears fails what it executed", async () => {
    await using cluster = await startTestCluster({ scheduler: { lostWorkerTimeout: 50 } });
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const execution = new Execution(cluster, action);
    await execution.next();
    await worker.synchronize(idle);
    const { status } = await execution.response();
    assert.equal(status?.code, Code.UNAVAILABLE);
    assert.match(status.message, /^Worker {"name":"one"} disappeared while task was executing$/);
    assert.equal(cluster.server.queue.statistics().workers, 0);
  });

  test("a held call that is cancelled leaves the next action to others", async () => {
    await using cluster = await startTestCluster();
    const [one, two] = [await knownWorker(cluster, "one"), await knownWorker(cluster, "two")];
    const abort = new AbortController();
    const held = one.synchronize(idle, {}, { signal: abort.signal });
    await Promise.all([
      assert.rejects(held, { code: Code.CANCELLED }),
      // A second call of the same worker is refused while the first is held.
      (async () => {
        while (!(await isRefused(one))) {}
        abort.abort();
      })(),
    ]);
    while (await isRefused(one)) {}
    const action = await putAction(cluster, "a");
    await new Execution(cluster, action).next();
    assert.equal(desired(await two.synchronize(idle)), action.hash);
  });

  test("a worker that does something else than it should is corrected", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const stale = await putAction(cluster, "stale");
    assert.equal(desired(await worker.synchronize(running(stale))), "idle");
    const action = await putAction(cluster, "a");
    await new Execution(cluster, action).next();
    assert.equal(desired(await worker.synchronize(running(stale))), action.hash);
    assert.equal(desired(await worker.synchronize(completed(stale))), action.hash);
    assert.equal(desired(await worker.synchronize(running(action))), undefined);
  });

  test("an idle worker is answered after a while", async () => {
    await using cluster = await startTestCluster({ scheduler: { idleWorkerSynchronizationInterval: 20 } });
    const worker = await knownWorker(cluster);
    assert.equal(desired(await worker.synchronize(idle)), "idle");
  });

  test("a request without a state is refused", async () => {
    await using cluster = await startTestCluster();
    await assert.rejects(cluster.operationQueue.synchronize({ workerId: { name: "x" } }), {
      code: Code.INVALID_ARGUMENT,
    });
    await assert.rejects(
      cluster.operationQueue.synchronize({
        currentState: { workerState: { case: "executing", value: {} } },
      }),
      { code: Code.INVALID_ARGUMENT },
    );
  });

  async function isRefused(worker: FakeWorker): Promise<boolean> {
    try {
      await worker.synchronize(idle, { preferBeingIdle: true });
      return false;
    } catch (error) {
      assert.equal((error as { code: number }).code, Code.RESOURCE_EXHAUSTED);
      return true;
    }
  }
});

suite("Operations", { timeout: 120_000 }, () => {
  test("can be followed again by name, also when done", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const { name } = await new Execution(cluster, action).next();
    await worker.synchronize(idle);
    await worker.synchronize(completed(action, 4), { preferBeingIdle: true });
    for await (const operation of cluster.execution.waitExecution({ name })) {
      assert.equal(responseOf(operation).result?.exitCode, 4);
    }
    assert.equal(responseOf(await cluster.operations.getOperation({ name })).result?.exitCode, 4);
    await cluster.operations.deleteOperation({ name });
    await assert.rejects(cluster.operations.getOperation({ name }), { code: Code.NOT_FOUND });
    await assert.rejects(cluster.execution.waitExecution({ name })[Symbol.asyncIterator]().next(), {
      code: Code.NOT_FOUND,
    });
  });

  test("that are cancelled stop the worker", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const execution = new Execution(cluster, action);
    const { name } = await execution.next();
    await worker.synchronize(idle);
    assert.equal(await execution.nextStage(), EXECUTING);
    await cluster.operations.cancelOperation({ name });
    const { result } = await execution.next();
    assert.ok(result.case === "error" && result.value.code === Code.CANCELLED);
    assert.equal(desired(await worker.synchronize(running(action))), "idle");
  });

  test("that are cancelled leave the action to the others that wait for it", async () => {
    await using cluster = await startTestCluster();
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const [cancelled, other] = [new Execution(cluster, action), new Execution(cluster, action)];
    const { name } = await cancelled.next();
    await other.next();
    await cluster.operations.cancelOperation({ name });
    assert.equal(desired(await worker.synchronize(idle)), action.hash);
    await worker.synchronize(completed(action, 9), { preferBeingIdle: true });
    assert.equal((await other.response()).result?.exitCode, 9);
  });

  test("that no client waits for are cancelled", async () => {
    await using cluster = await startTestCluster({ scheduler: { abandonedOperationTimeout: 30 } });
    const worker = await knownWorker(cluster);
    const action = await putAction(cluster, "a");
    const abort = new AbortController();
    const execution = new Execution(cluster, action, {}, { signal: abort.signal });
    await execution.next();
    await worker.synchronize(idle);
    assert.equal(desired(await worker.synchronize(running(action))), undefined);
    abort.abort();
    while (desired(await worker.synchronize(running(action))) === undefined) {}
    assert.deepEqual((await cluster.operations.listOperations({})).operations, []);
  });
});

test("closing ends executions with UNAVAILABLE", async () => {
  await using cluster = await startTestCluster();
  await knownWorker(cluster);
  const action = await putAction(cluster, "a");
  const execution = new Execution(cluster, action);
  await execution.next();
  cluster.server.queue.close();
  assert.equal((await execution.response()).status?.code, Code.UNAVAILABLE);
  await assert.rejects(new Execution(cluster, action).next(), { code: Code.UNAVAILABLE });
});

test("capabilities say what is served", async () => {
  await using cluster = await startTestCluster();
  const { cacheCapabilities, executionCapabilities } = await cluster.capabilities.getCapabilities({});
  assert.equal(executionCapabilities?.execEnabled, true);
  const all = DIGEST_FUNCTIONS.map(({ value }) => value);
  assert.deepEqual(cacheCapabilities?.digestFunctions, all);
  assert.deepEqual(executionCapabilities?.digestFunctions, all);
});
