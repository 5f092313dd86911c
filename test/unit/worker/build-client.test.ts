import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { createClient } from "../../../src/grpc/client.ts";
import { addService } from "../../../src/grpc/handlers.ts";
import { statusFromError } from "../../../src/grpc/status.ts";
import { ExecuteResponseSchema } from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { OperationQueue } from "../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { BuildClient, type ExecutionContext } from "../../../src/worker/scheduler/build-client.ts";
import { FakeScheduler, type SchedulerCall, serve, type TestServer } from "./fakes.ts";

const digest = { hash: "a".repeat(64), sizeBytes: 1n };
const otherDigest = { hash: "b".repeat(64), sizeBytes: 1n };
const order = (actionDigest = digest) => ({
  desiredState: { workerState: { case: "executing" as const, value: { actionDigest, action: {} } } },
});
const beIdle = { desiredState: { workerState: { case: "idle" as const, value: {} } } };

/** An action in the test's hand. */
interface RunningAction {
  readonly context: ExecutionContext;
  finish(code?: number): void;
}

describe("BuildClient", () => {
  let scheduler: FakeScheduler;
  let server: TestServer;
  let drain: AbortController;
  let handBack: AbortController;
  let running: Promise<void>;
  let errors: unknown[];
  let readiness: () => Promise<void>;
  let actions: RunningAction[];
  let started: PromiseWithResolvers<RunningAction>;

  beforeEach(async () => {
    scheduler = new FakeScheduler();
    server = await serve((server) => addService(server, OperationQueue, scheduler.handlers()));
    drain = new AbortController();
    handBack = new AbortController();
    errors = [];
    readiness = async () => {};
    actions = [];
    started = Promise.withResolvers();
    const client = new BuildClient({
      queue: createClient(OperationQueue, server.channel),
      workerId: { host: "a", thread: "0" },
      instanceNamePrefix: "prefix",
      platform: undefined,
      sizeClass: 3,
      execute: (_request, context) =>
        new Promise((resolve) => {
          const finish = (code = 0) => resolve(create(ExecuteResponseSchema, { status: { code } }));
          context.signal.addEventListener("abort", () => finish(statusFromError(context.signal.reason).code));
          actions.push({ context, finish });
          started.resolve(actions.at(-1)!);
        }),
      checkReadiness: () => readiness(),
      onError: (_message, error) => errors.push(error),
      maximumBackoff: 0,
    });
    running = client.run(drain.signal, handBack.signal);
  });

  afterEach(async () => {
    drain.abort();
    handBack.abort();
    await server[Symbol.asyncDispose]();
    await running;
  });

  const stateOf = ({ request }: SchedulerCall) => {
    const state = request.currentState?.workerState;
    return state?.case === "executing" ? state.value.executionState.case : state?.case;
  };

  /** Takes one order and goes on to its first report. */
  const startAction = async () => {
    (await scheduler.next()).answer(order());
    return started.promise;
  };

  it("identifies itself, asks for work, and tells every stage of it", async () => {
    const idle = await scheduler.next();
    assert.deepEqual(idle.request.workerId, { host: "a", thread: "0" });
    assert.equal(idle.request.instanceNamePrefix, "prefix");
    assert.equal(idle.request.sizeClass, 3);
    assert.equal(idle.request.preferBeingIdle, false);
    assert.equal(stateOf(idle), "idle");
    idle.answer(order());
    const action = await started.promise;
    for (const stage of ["fetchingInputs", "running", "uploadingOutputs"] as const) {
      action.context.onStage(stage);
      const call = await scheduler.next();
      assert.equal(stateOf(call), stage);
      assert.equal(call.request.preferBeingIdle, false);
      call.answer({});
    }
    action.finish();
    const done = await scheduler.next();
    assert.equal(stateOf(done), "completed");
    assert.equal(done.request.preferBeingIdle, false);
    done.answer(beIdle);
    assert.equal(stateOf(await scheduler.next()), "idle");
  });

  it("takes the next action together with the report of the last", async () => {
    const action = await startAction();
    action.finish();
    const done = await scheduler.next();
    started = Promise.withResolvers();
    done.answer(order(otherDigest));
    const next = await started.promise;
    next.context.onStage("running");
    const report = await scheduler.next();
    const state = report.request.currentState?.workerState;
    assert.equal(state?.case === "executing" && state.value.actionDigest?.hash, otherDigest.hash);
  });

  it("reports again when next_synchronization_at comes, without news", async () => {
    const now = { seconds: BigInt(Math.floor(Date.now() / 1000)), nanos: 0 };
    (await scheduler.next()).answer({ ...order(), nextSynchronizationAt: now });
    assert.equal(stateOf(await scheduler.next()), "started");
  });

  it("prefers to be idle after an action that failed by no fault of its command", async () => {
    const action = await startAction();
    action.finish(14);
    assert.equal((await scheduler.next()).request.preferBeingIdle, true);
  });

  it("stops an action that the scheduler no longer wants, and starts another in its place", async () => {
    const action = await startAction();
    action.context.onStage("running");
    const report = await scheduler.next();
    started = Promise.withResolvers();
    report.answer(order(otherDigest));
    await started.promise;
    assert.ok(action.context.signal.aborted);
    assert.equal(actions.length, 2);
    actions[1]!.context.onStage("running");
    (await scheduler.next()).answer(beIdle);
    assert.equal(stateOf(await scheduler.next()), "idle");
    assert.ok(actions[1]!.context.signal.aborted);
  });

  it("keeps a running action when the scheduler cannot be reached, and reports it later", async () => {
    const action = await startAction();
    action.context.onStage("running");
    (await scheduler.next()).fail(14);
    action.context.onStage("uploadingOutputs");
    const report = await scheduler.next();
    assert.equal(stateOf(report), "uploadingOutputs");
    assert.equal(action.context.signal.aborted, false);
    assert.equal(errors.length, 1);
  });

  it("asks to be idle after a call that failed, as its answer may have been an order", async () => {
    (await scheduler.next()).fail(14);
    const call = await scheduler.next();
    assert.equal(call.request.preferBeingIdle, true);
    call.answer({});
    assert.equal((await scheduler.next()).request.preferBeingIdle, false);
  });

  it("asks for no work while it is not ready", async () => {
    const checks: (() => void)[] = [];
    const checked = Promise.withResolvers<void>();
    readiness = () =>
      new Promise((_resolve, reject) => {
        checks.push(() => reject(new Error("the mount is not there")));
        if (checks.length === 2) {
          checked.resolve();
        } else {
          checks[0]!();
        }
      });
    (await scheduler.next()).answer({});
    await checked.promise;
    assert.match(String(errors[0]), /the mount is not there/);
    readiness = async () => {};
    checks[1]!();
    assert.equal(stateOf(await scheduler.next()), "idle");
  });

  it("refuses an answer without next_synchronization_at", async () => {
    (await scheduler.next()).answer({ nextSynchronizationAt: undefined as never });
    (await scheduler.next()).answer({});
    assert.match(String(errors[0]), /next_synchronization_at/);
  });

  describe("when it shall stop", () => {
    it("gives up a call that waits for work, makes sure that the scheduler knows, and returns", async () => {
      const waiting = await scheduler.next();
      drain.abort();
      await waiting.aborted;
      const call = await scheduler.next();
      assert.equal(call.request.preferBeingIdle, true);
      call.answer({});
      await running;
      assert.deepEqual(errors, []);
    });

    it("finishes the running action first", async () => {
      const action = await startAction();
      drain.abort();
      action.context.onStage("running");
      (await scheduler.next()).answer({});
      action.finish();
      const done = await scheduler.next();
      assert.equal(stateOf(done), "completed");
      assert.equal(done.request.preferBeingIdle, true);
      done.answer(beIdle);
      await running;
      assert.equal(action.context.signal.aborted, false);
    });

    it("hands the action back as UNAVAILABLE when there is no more time", async () => {
      const action = await startAction();
      drain.abort();
      handBack.abort();
      const done = await scheduler.next();
      assert.ok(action.context.signal.aborted);
      const state = done.request.currentState?.workerState;
      const execution = state?.case === "executing" ? state.value.executionState : undefined;
      assert.equal(execution?.case === "completed" && execution.value.status?.code, 14);
      done.answer(beIdle);
      await running;
    });

    it("returns without the scheduler when there is no more time", async () => {
      const waiting = await scheduler.next();
      drain.abort();
      handBack.abort();
      await waiting.aborted;
      (await scheduler.next()).fail(14);
      await running;
    });
  });
});
