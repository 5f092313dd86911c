import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connectOtlp } from "../../../../src/grpc/otlp-connection.ts";
import { startTracing } from "../../../../src/telemetry/tracing/open-telemetry.ts";
import { MaximumRateSampler, samplerOf } from "../../../../src/telemetry/tracing/samplers.ts";
import type { SamplerSettings, TracingSettings } from "../../../../src/telemetry/tracing/settings.ts";
import { startOtlpReceiver } from "./otlp-receiver.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const traceparent = (flags: string) => ({ traceparent: `00-${TRACE}-b7ad6b7169203331-${flags}` });
const batches = {
  delayMilliseconds: 60_000,
  exportMilliseconds: 10_000,
  maximumBatchSize: 512,
  maximumQueueSize: 2048,
};

function settings(address: string, sampler: SamplerSettings = { policy: "always" }) {
  return {
    backends: [{ endpoint: { address, metadata: [["x-token", "secret"]] as const }, batches }],
    resourceAttributes: { "service.name": "bb_worker", tags: ["a", "b"] },
    sampler,
  } satisfies TracingSettings<unknown>;
}

const noError = (error: Error) => assert.fail(error);

describe("tracing", () => {
  it("sends spans with their parents, attributes and failures, the last ones at the end", async () => {
    await using receiver = await startOtlpReceiver();
    {
      await using tracing = startTracing(settings(receiver.address), connectOtlp, noError);
      const span = tracing.start("outer", { ...traceparent("01"), tracestate: "a=b" }, { startedAt: 1000 });
      assert.match(span.context?.traceparent ?? "", new RegExp(`^00-${TRACE}-[0-9a-f]{16}-01$`));
      assert.equal(span.context?.tracestate, "a=b");
      const child = span.child("inner", { kind: "client", attributes: { n: 5, list: ["x"] } });
      child.set({ late: true });
      child.end("it broke");
      child.end();
      span.end();
      assert.equal(receiver.spans.length, 0);
    }
    const [inner, outer] = receiver.spans;
    assert.equal(receiver.spans.length, 2);
    assert.deepEqual(
      [outer?.traceId, outer?.parentSpanId, outer?.start, outer?.kind],
      [TRACE, "b7ad6b7169203331", 1_000_000_000n, 1],
    );
    assert.deepEqual([inner?.parentSpanId, inner?.kind, inner?.error], [outer?.spanId, 3, "it broke"]);
    assert.deepEqual(inner?.attributes, { n: 5n, list: ["x"], late: true });
    assert.deepEqual(inner?.resource, { "service.name": "bb_worker", tags: ["a", "b"] });
    assert.equal(receiver.headers["x-token"], "secret");
  });

  it("tells what was lost", async () => {
    const errors: string[] = [];
    await using receiver = await startOtlpReceiver();
    // partial_success { rejected_spans: 1, error_message: "full" }
    receiver.answer = Buffer.from([0x0a, 0x08, 0x08, 0x01, 0x12, 0x04, ...Buffer.from("full")]);
    {
      await using tracing = startTracing(settings(receiver.address), connectOtlp, ({ message }) =>
        errors.push(message),
      );
      tracing.start("x").end();
    }
    assert.deepEqual(errors, ["1 spans were rejected: full"]);
  });

  it("records nothing, but lets others continue the trace, where the sampler says so", async () => {
    await using receiver = await startOtlpReceiver();
    const never: SamplerSettings = { policy: "never" };
    const always: SamplerSettings = { policy: "always" };
    const sampler: SamplerSettings = {
      policy: "parentBased",
      noParent: never,
      localParentNotSampled: never,
      localParentSampled: always,
      remoteParentNotSampled: never,
      remoteParentSampled: always,
    };
    {
      await using tracing = startTracing(settings(receiver.address, sampler), connectOtlp, noError);
      const unsampled = tracing.start("unsampled", traceparent("00"));
      assert.equal(unsampled.isRecording, false);
      assert.match(unsampled.context?.traceparent ?? "", new RegExp(`^00-${TRACE}-[0-9a-f]{16}-00$`));
      unsampled.child("child of it").end();
      unsampled.end();
      tracing.start("root").end();
      tracing.start("garbage", { traceparent: "00-zz" }).end();
      const sampled = tracing.start("sampled", traceparent("01"));
      sampled.child("child").end();
      sampled.end();
    }
    assert.deepEqual(
      receiver.spans.map(({ name }) => name),
      ["child", "sampled"],
    );
  });
});

describe("a sampler", () => {
  it("of a maximum rate takes so many in each epoch, which begins when the first one comes", () => {
    let now = 0;
    const sampler = new MaximumRateSampler(2, 1000, () => now);
    const sampled = () => sampler.shouldSample().decision === 2;
    assert.deepEqual([sampled(), sampled(), sampled()], [true, true, false]);
    now = 999;
    assert.equal(sampled(), false);
    now = 1500;
    assert.deepEqual([sampled(), sampled(), sampled()], [true, true, false]);
    now = 2499;
    assert.equal(sampled(), false);
    now = 2500;
    assert.equal(sampled(), true);
  });

  it("of a ratio decides by the trace", () => {
    assert.match(String(samplerOf({ policy: "traceIdRatioBased", ratio: 0.01 })), /0\.01/);
  });
});
