import assert from "node:assert/strict";
import { it } from "node:test";
import { Metadata } from "@grpc/grpc-js";
import { connectOtlp } from "../../../../src/grpc/otlp-connection.ts";
import { startTracing } from "../../../../src/telemetry/tracing/open-telemetry.ts";
import { type ReceivedSpan, startOtlpReceiver } from "../../telemetry/tracing/otlp-receiver.ts";
import { NativeCluster } from "../native/native-cluster.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const CALLER = "b7ad6b7169203331";

it("an action's spans, in worker and runner, are one trace with the client's", {
  timeout: 60_000,
}, async (test) => {
  await using receiver = await startOtlpReceiver();
  const tracing = (service: string) =>
    startTracing(
      {
        backends: [{ endpoint: { address: receiver.address }, batches: undefined }],
        resourceAttributes: { "service.name": service },
        sampler: { policy: "always" },
      },
      connectOtlp,
      (error) => assert.fail(error),
    );
  {
    await using workerTracer = tracing("bb_worker");
    await using runnerTracer = tracing("bb_runner");
    const cluster = await NativeCluster.start(test, {
      workerTracer,
      runnerTracer,
    });
    const metadata = new Metadata();
    metadata.set("traceparent", `00-${TRACE}-${CALLER}-01`);
    await cluster.run({
      inputRoot: await cluster.putDirectory({ files: [{ name: "a", digest: await cluster.putFile("a") }] }),
      script: "cat a > b; exit 3",
      command: { outputPaths: ["b"] },
      metadata,
    });
  }
  const spans = receiver.spans.filter(({ traceId }) => traceId === TRACE);
  const named = (name: string): ReceivedSpan => {
    const [span, another] = spans.filter((each) => each.name === name);
    assert.ok(span !== undefined && another === undefined, `${name} in ${spans.map((each) => each.name)}`);
    return span;
  };
  const action = named("BuildExecutor.Execute");
  assert.equal(action.parentSpanId, CALLER);
  assert.deepEqual(
    [action.attributes.exit_code, action.resource["service.name"], action.error],
    [3n, "bb_worker", undefined],
  );
  const stages = ["Queued", "FetchingInputs", "Running", "UploadingOutputs"].map(named);
  for (const [index, stage] of stages.entries()) {
    assert.equal(stage.parentSpanId, action.spanId);
    assert.ok(stage.end >= stage.start);
    assert.ok(index === 0 || stage.start >= stages[index - 1]!.start, stage.name);
  }
  const [, fetching, running, uploading] = stages;
  const calls = spans.filter(({ name }) => name === "buildbarn.runner.Runner/Run");
  const client = calls.find(({ kind }) => kind === 3);
  const server = calls.find(({ kind }) => kind === 2);
  assert.equal(calls.length, 2);
  assert.equal(client?.parentSpanId, running?.spanId);
  assert.equal(server?.parentSpanId, client?.spanId);
  assert.equal(server?.resource["service.name"], "bb_runner");
  assert.equal(server?.attributes["rpc.grpc.status_code"], 0n);
  const fetches = spans.filter(({ name }) => name === "fetch");
  assert.equal(fetches.length, 2, "the Command, and the input root's Directory");
  assert.ok(fetches.every(({ parentSpanId }) => parentSpanId === fetching?.spanId));
  assert.ok(fetches.every(({ attributes }) => /^[0-9a-f]{64}$/.test(String(attributes["digest.hash"]))));
  const uploads = spans.filter(
    ({ name, parentSpanId }) => name === "upload" && parentSpanId === uploading?.spanId,
  );
  assert.deepEqual(
    uploads.map(({ attributes }) => attributes.path).filter((path) => path !== undefined),
    ["b"],
  );
});
