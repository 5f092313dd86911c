import assert from "node:assert/strict";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { packAny } from "../../../../src/grpc/status.ts";
import {
  ActionResultSchema,
  ExecuteResponseSchema,
  RequestMetadataSchema,
} from "../../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import { DesiredState_ExecutingSchema } from "../../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { makeDigest, SHA256 } from "../../../../src/reapi/digest.ts";
import { endedActionsContent } from "../../../../src/worker/page/ended-actions.ts";
import { runningActionsContent } from "../../../../src/worker/page/running-actions.ts";
import { ActionProgress } from "../../../../src/worker/telemetry/action-progress.ts";
import { RunningActions } from "../../../../src/worker/telemetry/running-actions.ts";
import { NativeCluster } from "../native/native-cluster.ts";

const HOSTILE = `<img src=x onerror="alert(1)">'\u202e`;
const ORIGIN = { worker: "thread", orderedAt: 0, instanceNamePrefix: "" };

function order() {
  return create(DesiredState_ExecutingSchema, {
    actionDigest: { hash: "a".repeat(64), sizeBytes: 1n },
    instanceNameSuffix: HOSTILE,
    auxiliaryMetadata: [packAny(RequestMetadataSchema, { targetId: HOSTILE, actionMnemonic: HOSTILE })],
  });
}

function response(message = "") {
  return create(ExecuteResponseSchema, {
    result: create(ActionResultSchema, { exitCode: 3 }),
    ...(message !== "" && { status: { code: 3, message } }),
  });
}

it("a hostile action's names are text on the page", () => {
  const actions = new RunningActions();
  const action = actions.begin(order(), ORIGIN);
  const never = new Promise(() => {});
  action.waitsFor({ kind: "upload", path: HOSTILE }, never);
  action.waitsFor({ kind: "fetch", digest: makeDigest("", SHA256, "b".repeat(64), 5) }, never);
  const running = runningActionsContent([...actions.all], 1, () => HOSTILE).text;
  actions.end(action, response(HOSTILE));
  for (const content of [running, endedActionsContent(actions.ended).text]) {
    assert.doesNotMatch(content, /<img|onerror="|\u202e/);
    assert.match(content, /&lt;img src=x onerror=&quot;alert\(1\)&quot;&gt;&#39;\ufffd/);
  }
  assert.match(running, /upload of &lt;img/);
  assert.match(running, /blob <code>bbbbbb…bbbbbb<\/code> \(5 B\) from &lt;img/);
});

it("fifty ended actions are remembered, the last one first", () => {
  const actions = new RunningActions();
  for (let index = 0; index < 60; index++) {
    actions.end(actions.begin(order(), { ...ORIGIN, worker: `${index}` }), response());
  }
  assert.deepEqual([...actions.all], []);
  assert.equal(actions.ended.length, 50);
  assert.equal(actions.ended[0]?.worker, "59");
});

it("an action's time is that of its stages; waits for storage count once, and only while it runs", async () => {
  let now = 10;
  const action = new ActionProgress(order(), { ...ORIGIN, orderedAt: 0 }, () => now);
  const waits = Array.from({ length: 3 }, () => Promise.withResolvers<void>());
  const fetch = (index: number) => action.waitsFor({ kind: "fetch" }, waits[index]!.promise);
  const settle = async (index: number) => {
    waits[index]!.resolve();
    await waits[index]!.promise;
    await Promise.resolve();
  };
  action.enter("fetchingInputs");
  fetch(0);
  now = 100;
  action.enter("running");
  now = 130;
  await settle(0);
  fetch(1);
  now = 140;
  fetch(2);
  now = 150;
  await settle(1);
  assert.deepEqual(action.times, { queued: 0, input: 100, run: 50, storage: 50, upload: 0 });
  now = 160;
  await settle(2);
  now = 200;
  assert.equal(action.waits.size, 0);
  action.enter("uploadingOutputs");
  now = 230;
  action.end(response());
  now = 1000;
  assert.deepEqual(action.times, { queued: 0, input: 100, run: 100, storage: 60, upload: 30 });
});

it("the page of a worker shows the action that runs, then how it ended, the caches and the runners", {
  timeout: 60_000,
}, async (test) => {
  const cluster = await NativeCluster.start(test);
  const { page } = cluster.worker;
  const content = (id: string) => page.sections.find((section) => section.id === id)!.content().text;
  const inputRoot = await cluster.putDirectory({
    files: [{ name: "a", digest: await cluster.putFile("a") }],
  });
  assert.match(content("running"), /0 of 1 slots.*No action runs/s);
  const held = await cluster.hold(inputRoot, "cat a; exit 3");
  assert.match(content("running"), /1 of 1 slots.*its command, at the runner/s);
  assert.match(content("runners"), /unix:.*ready.*&check; gets work/s);
  held.release();
  await held.response;
  assert.match(content("ended"), /&cross; exit code 3/);
  assert.match(content("ended"), /aria-label="queue [^"]*, run [^"]*, of which waiting for storage/);
  assert.match(content("mounts"), /hard links.*&check; well/s);
  assert.match(content("caches"), /files for hard links.*1 of 1,000 files/s);
});
