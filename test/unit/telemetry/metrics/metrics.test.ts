import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import {
  BYTES,
  decimalBuckets,
  exponentialBuckets,
  SECONDS,
} from "../../../../src/telemetry/metrics/buckets.ts";
import { expose } from "../../../../src/telemetry/metrics/exposition.ts";
import { Metrics } from "../../../../src/telemetry/metrics/metrics.ts";
import { observeProcess } from "../../../../src/telemetry/metrics/process-metrics.ts";
import { parseExposition } from "./parse-exposition.ts";

describe("buckets", () => {
  it("are Buildbarn's", () => {
    // As bb_worker's buildbarn_builder_build_executor_duration_seconds has them.
    assert.deepEqual(
      SECONDS.map(String),
      `0.001 0.0021544 0.0046415 0.01 0.021544 0.046415 0.1 0.21544 0.46415 1 2.1544 4.6415 10 21.544 46.415 100 215.44 \
464.15 1000`.split(" "),
    );
    assert.equal(decimalBuckets(0, 9).at(-1), 1e9);
    assert.deepEqual(exponentialBuckets(1024, 2, 3), [1024, 2048, 4096]);
    assert.deepEqual([BYTES.length, BYTES.at(-1)], [33, 2 ** 32]);
  });
});

describe("an exposition", () => {
  it("has numbers and distributions as they are when somebody asks", async () => {
    const metrics = new Metrics();
    let level = 1;
    metrics.observe("gauge", { name: "level_bytes", help: "A level.", unit: "bytes" }, () => level);
    const counter = metrics.counter({
      name: "calls_total",
      help: "Calls\nof all.",
      unit: "calls",
      labels: ["method"],
    });
    const histogram = metrics.histogram(
      { name: "wait_seconds", help: "Waits.", unit: "seconds", labels: ["kind"] },
      [0.1, 1],
    );
    const exposition = expose(metrics);
    const empty = parseExposition(await exposition.text());
    assert.deepEqual(empty.get("wait_seconds")?.samples, []);

    level = 7;
    counter.add(2, "get");
    counter.add(1, "put");
    counter.add(3, "get");
    for (const seconds of [0.1, 0.5, 5, 7]) {
      histogram.observe(seconds, "long");
    }
    const families = parseExposition(await exposition.text());
    assert.deepEqual(families.get("level_bytes"), {
      help: "A level.",
      unit: "bytes",
      type: "gauge",
      samples: [{ name: "level_bytes", labels: {}, value: 7 }],
    });
    assert.deepEqual(families.get("calls_total"), {
      help: "Calls\\nof all.",
      unit: "calls",
      type: "counter",
      samples: [
        { name: "calls_total", labels: { method: "get" }, value: 5 },
        { name: "calls_total", labels: { method: "put" }, value: 1 },
      ],
    });
    assert.deepEqual(
      families.get("wait_seconds")?.samples.map(({ name, labels, value }) => [name, labels.le, value]),
      [
        ["wait_seconds_count", undefined, 4],
        ["wait_seconds_sum", undefined, 12.6],
        ["wait_seconds_bucket", "0.1", 1],
        ["wait_seconds_bucket", "1", 2],
        ["wait_seconds_bucket", "+Inf", 4],
      ],
    );
  });

  it("keeps any label value, and each apart from all others", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(
          fc.oneof(fc.string(), fc.string({ unit: fc.constantFrom("\\", '"', "\n", "n", "}", ",", "=") })),
          { minLength: 1 },
        ),
        async (values) => {
          const metrics = new Metrics();
          const counter = metrics.counter({ name: "x_total", help: "X.", unit: "x", labels: ["value"] });
          for (const [index, value] of values.entries()) {
            counter.add(index + 1, value);
          }
          const samples = parseExposition(await expose(metrics).text()).get("x_total")!.samples;
          assert.deepEqual(
            samples.map(({ labels, value }) => [labels.value, value]),
            values.map((value, index) => [value, index + 1]),
          );
        },
      ),
      { numRuns: 50 },
    );
  });

  it("shows more series than the SDK would by itself", async () => {
    const metrics = new Metrics();
    const labels = Array.from({ length: 3000 }, (_, index) => String(index));
    metrics.observe("counter", { name: "x_total", help: "X.", unit: "x", labels: ["x"] }, () =>
      labels.map((label) => ({ labels: [label], value: 1 })),
    );
    const families = parseExposition(await expose(metrics).text());
    assert.equal(families.get("x_total")?.samples.length, 3000);
  });

  it("fails as a whole where something cannot be read, and names are given once", async () => {
    const metrics = new Metrics();
    const about = { name: "x", help: "X.", unit: "x" };
    metrics.observe("gauge", about, () => {
      throw new Error("broken");
    });
    await assert.rejects(expose(metrics).text(), /broken/);
    assert.throws(() => metrics.counter(about), /there is a metric x already/);
  });
});

it("a process's own metrics are those that dashboards for Go and Node.js look for", async () => {
  using resources = new DisposableStack();
  const metrics = new Metrics();
  observeProcess(metrics, resources);
  const families = parseExposition(await expose(metrics).text());
  const value = (name: string) => families.get(name)?.samples[0]?.value ?? Number.NaN;
  assert.ok(value("process_cpu_seconds_total") > 0);
  assert.ok(value("process_resident_memory_bytes") > 10_000_000);
  assert.ok(value("process_virtual_memory_bytes") > value("process_resident_memory_bytes"));
  assert.ok(value("process_open_fds") > 2 && value("process_open_fds") < value("process_max_fds"));
  assert.ok(Math.abs(value("process_start_time_seconds") + process.uptime() - Date.now() / 1000) < 5);
  assert.ok(value("nodejs_heap_size_used_bytes") > 1_000_000);
  assert.deepEqual(
    families.get("nodejs_eventloop_delay_seconds")?.samples.map(({ labels }) => labels.statistic),
    ["p50", "p90", "p99", "max"],
  );
  assert.ok((families.get("bb_worker_nfs4_thread_cpu_seconds_total")?.samples.length ?? 0) > 0);
});
