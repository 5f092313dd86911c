import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { fromJson } from "@bufbuild/protobuf";
import type { Empty } from "@bufbuild/protobuf/wkt";
import type { ServerDuplexStream } from "@grpc/grpc-js";
import { bbWorkerSettings } from "../../../src/config/bb-worker/application.ts";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import { DigestFunction_Value } from "../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import {
  type CompletedAction,
  CompletedActionLogger,
} from "../../../src/proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { ApplicationConfigurationSchema } from "../../../src/proto/gen/buildbarn/configuration/bb_worker/bb_worker_pb.ts";
import { OperationQueue } from "../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { createLog } from "../../../src/telemetry/log.ts";
import type { MountTree } from "../../../src/worker/build-directory/build-directory-server.ts";
import { Worker } from "../../../src/worker/worker.ts";
import { FakeScheduler, serve } from "./fakes.ts";

const unmounted: MountTree = async () => ({
  lost: new Promise(() => {}),
  sync: async () => {},
  refreshNames: async () => {},
  statistics: () => assert.fail("nobody asks"),
  close: async () => {},
});

it("a worker reports to loggers what it ran, and asks when its timeouts shall be suspended", {
  timeout: 10_000,
}, async (test) => {
  const folder = mkdtempSync(join(tmpdir(), "worker-"));
  test.after(() => rmSync(folder, { recursive: true }));
  const scheduler = new FakeScheduler();
  const logged = Promise.withResolvers<{ action: CompletedAction; acknowledge: () => void }>();
  await using server = await serve((server) => {
    addService(server, OperationQueue, scheduler.handlers());
    addService(server, Runner, { checkReadiness: unary(() => ({})) });
    addService(server, CompletedActionLogger, {
      logCompletedActions: (call) => {
        const { write } = call as ServerDuplexStream<CompletedAction, Partial<Empty>>;
        call.on("data", (action) => logged.resolve({ action, acknowledge: () => write.call(call, {}) }));
      },
    });
  });
  const compensator = createServer();
  compensator.listen(0, "127.0.0.1");
  await once(compensator, "listening");
  test.after(() => {
    compensator.closeAllConnections();
    compensator.close();
  });
  const asked = once(compensator, "request");
  const url = `http://127.0.0.1:${(compensator.address() as AddressInfo).port}`;

  const client = { address: server.address };
  const configuration = fromJson(ApplicationConfigurationSchema, {
    scheduler: client,
    blobstore: { contentAddressableStorage: { grpc: { client } }, actionCache: { grpc: { client } } },
    filePool: { blockDevice: { file: { path: join(folder, "pool"), sizeBytes: "100000000" } } },
    completedActionLoggers: [{ client, maximumSendQueueSize: 1, addInstanceNamePrefix: "cluster" }],
    httpExecutionTimeoutCompensators: [{ suspendUrl: `${url}/suspend`, resumeUrl: `${url}/resume` }],
    buildDirectories: [
      {
        virtual: { mount: { mountPath: join(folder, "build"), nfsv4: { linux: {} } } },
        runners: [{ endpoint: client, concurrency: "1", instanceNamePrefix: "pool", sizeClass: 4 }],
      },
    ],
  });
  const worker = await Worker.start(
    bbWorkerSettings(configuration),
    unmounted,
    createLog("error", () => {}),
  );
  const [request] = await asked;
  assert.equal(request.url, "/suspend");

  const idle = await scheduler.next();
  assert.equal(idle.request.sizeClass, 4);
  const actionDigest = { hash: "a".repeat(64), sizeBytes: 1n };
  // Without an action in it.
  const order = { actionDigest, instanceNameSuffix: "project", digestFunction: DigestFunction_Value.SHA256 };
  idle.answer({ desiredState: { workerState: { case: "executing", value: order } } });
  const { action, acknowledge } = await logged.promise;
  assert.equal(action.instanceName, "cluster/pool/project");
  assert.equal(action.historicalExecuteResponse?.executeResponse?.status?.code, 3);

  const stopped = worker.stop();
  // A call that was under way when the worker was to stop is made again.
  const answerAll = async (): Promise<never> => {
    for (;;) {
      (await scheduler.next()).answer({ desiredState: { workerState: { case: "idle", value: {} } } });
    }
  };
  void answerAll();
  acknowledge();
  await stopped;
});
