import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  DigestFunction_Value,
  ExecuteResponseSchema,
} from "../../../../src/proto/gen/build/bazel/remote/execution/v2/remote_execution_pb.ts";
import type { CompletedAction } from "../../../../src/proto/gen/buildbarn/completedactionlogger/completed_action_logger_pb.ts";
import { DesiredState_ExecutingSchema } from "../../../../src/proto/gen/buildbarn/remoteworker/remoteworker_pb.ts";
import { logCompletedActions } from "../../../../src/worker/completed-actions/completed-action-logging.ts";

const actionDigest = { hash: "a".repeat(64), sizeBytes: 11n };
const failed = create(ExecuteResponseSchema, {
  status: { code: 14, message: "the machine is at fault" },
  message: "Action details (uncached result): http://browser",
});

/** What two loggers, the second with a prefix, get of an action that failed. */
async function logged(order: MessageInitShape<typeof DesiredState_ExecutingSchema>, ownPrefix: string) {
  const actions: CompletedAction[] = [];
  const logger = { logCompletedAction: (action: CompletedAction) => actions.push(action) };
  const loggings = ["", "cluster/one"].map((addInstanceNamePrefix) => ({ logger, addInstanceNamePrefix }));
  const execute = logCompletedActions(async () => failed, loggings, ownPrefix);
  const context = { signal: AbortSignal.abort(), orderedAt: 0, onStage: () => {} };
  assert.equal(await execute(create(DesiredState_ExecutingSchema, order), context), failed);
  return actions;
}

describe("logCompletedActions", () => {
  it("logs the response with the action's digest, also of an action that failed", async () => {
    const actions = await logged({ actionDigest }, "");
    for (const { historicalExecuteResponse } of actions) {
      assert.equal(historicalExecuteResponse?.actionDigest?.hash, actionDigest.hash);
      assert.equal(historicalExecuteResponse?.executeResponse, failed);
    }
    const uuids = actions.map(({ uuid }) => uuid);
    assert.equal(new Set(uuids).size, 2);
    assert.match(uuids[0]!, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });

  it("puts the logger's prefix before the worker's, and that before the order's instance name", async () => {
    const names = async (suffix: string, prefix: string) =>
      (await logged({ actionDigest, instanceNameSuffix: suffix }, prefix)).map(
        (action) => action.instanceName,
      );
    assert.deepEqual(await names("b/c", "a"), ["a/b/c", "cluster/one/a/b/c"]);
    assert.deepEqual(await names("b", ""), ["b", "cluster/one/b"]);
    assert.deepEqual(await names("", "a"), ["a", "cluster/one/a"]);
    assert.deepEqual(await names("", ""), ["", "cluster/one"]);
  });

  it("names the digest function that was used where the order leaves it open", async () => {
    const functions = async (hash: string, digestFunction: DigestFunction_Value) =>
      (await logged({ actionDigest: { hash, sizeBytes: 1n }, digestFunction }, "")).map(
        (action) => action.digestFunction,
      );
    const { SHA256, SHA1, BLAKE3, UNKNOWN } = DigestFunction_Value;
    assert.deepEqual(await functions("a".repeat(64), UNKNOWN), [SHA256, SHA256]);
    assert.deepEqual(await functions("a".repeat(40), UNKNOWN), [SHA1, SHA1]);
    assert.deepEqual(await functions("a".repeat(64), BLAKE3), [BLAKE3, BLAKE3]);
  });

  it("logs an order that makes no sense as it came", async () => {
    const [action] = await logged({ digestFunction: 99 as DigestFunction_Value }, "");
    assert.equal(action?.digestFunction, 99);
    assert.equal(action?.historicalExecuteResponse?.actionDigest, undefined);
    const [other] = await logged({ actionDigest: { hash: "abc", sizeBytes: 1n } }, "");
    assert.equal(other?.digestFunction, DigestFunction_Value.UNKNOWN);
  });
});
