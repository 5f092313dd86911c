import type { HistogramValue, Metrics, Sample } from "../../telemetry/metrics/metrics.ts";
import type { CallCount, CallCounts } from "./counts.ts";

const KINDS: Readonly<Record<CallCount["kind"], string>> = {
  unary: "unary",
  client_streaming: "client_stream",
  server_streaming: "server_stream",
  bidi_streaming: "bidi_stream",
};

/** The statuses as Go spells them. */
export const GO_CODES: readonly string[] = [
  "OK",
  "Canceled",
  "Unknown",
  "InvalidArgument",
  "DeadlineExceeded",
  "NotFound",
  "AlreadyExists",
  "PermissionDenied",
  "ResourceExhausted",
  "FailedPrecondition",
  "Aborted",
  "OutOfRange",
  "Unimplemented",
  "Internal",
  "Unavailable",
  "DataLoss",
  "Unauthenticated",
];

/** Shows what was counted as go-grpc-prometheus does: `grpc_client_…` or `grpc_server_…`. */
export function observeCalls(metrics: Metrics, side: "client" | "server", counts: CallCounts): void {
  const labels = ["grpc_type", "grpc_service", "grpc_method"];
  const where = side === "client" ? "by the client" : "on the server";
  const counter = (name: string, help: string, unit: string, value: (count: CallCount) => number) =>
    metrics.observe("counter", { name: `grpc_${side}_${name}`, help, unit, labels }, () =>
      Array.from(counts.read(), (count) => ({ labels: labelsOf(count), value: value(count) })),
    );
  counter("started_total", `RPCs started ${where}.`, "calls", ({ started }) => started);
  counter(
    "msg_received_total",
    `Messages received ${where}.`,
    "messages",
    ({ messagesReceived }) => messagesReceived,
  );
  counter("msg_sent_total", `Messages sent ${where}.`, "messages", ({ messagesSent }) => messagesSent);
  metrics.observe(
    "counter",
    {
      name: `grpc_${side}_handled_total`,
      help: `RPCs that have ended ${where}, by their status.`,
      unit: "calls",
      labels: [...labels, "grpc_code"],
    },
    () => byCode(counts),
  );
  metrics.observeHistogram(
    {
      name: `grpc_${side}_handling_seconds`,
      help: `How long RPCs took ${where}, until they had ended.`,
      unit: "seconds",
      labels,
    },
    () => durations(counts),
  );
}

function labelsOf({ kind, service, method }: CallCount): readonly string[] {
  return [KINDS[kind], service, method];
}

function* byCode(counts: CallCounts): Iterable<Sample<number>> {
  for (const count of counts.read()) {
    for (const [code, value] of count.codes.entries()) {
      if (value > 0) {
        yield { labels: [...labelsOf(count), GO_CODES[code]!], value };
      }
    }
  }
}

function* durations(counts: CallCounts): Iterable<Sample<HistogramValue>> {
  const { bounds } = counts.shared;
  for (const count of counts.read()) {
    yield { labels: labelsOf(count), value: { bounds, counts: count.buckets, sum: count.seconds } };
  }
}
