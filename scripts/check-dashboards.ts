/**
 * `npm run check:dashboards`: each panel of configs/grafana/ asks for metrics, and labels of them, that the program has
 * which the dashboard is about.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import type { MetricFamily } from "../src/telemetry/metrics/metrics.ts";
import { runnerFamilies, workerFamilies } from "./program-metrics.ts";

const FOLDER = path.resolve(import.meta.dirname, "../configs/grafana");
/** Every metric of ours begins with one of these. */
const METRIC = /\b(?:buildbarn|bb_worker_nfs4|grpc|nodejs|process)_\w+(?=[{[\s)]|$)/g;
/** What Prometheus itself adds to what it scrapes. */
const ADDED_LABELS = ["instance", "job"];

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string }[];
}

function main(): number {
  const problems = [
    ...problemsOf("bb_worker.json", workerFamilies()),
    ...problemsOf("bb_runner.json", runnerFamilies()),
  ];
  for (const problem of problems) {
    console.error(problem);
  }
  return problems.length === 0 ? 0 : 1;
}

function problemsOf(file: string, families: readonly MetricFamily[]): readonly string[] {
  const { panels } = JSON.parse(readFileSync(path.join(FOLDER, file), "utf8")) as {
    panels: readonly Panel[];
  };
  return panels.flatMap(({ title, targets = [] }) =>
    targets.flatMap(({ expr }) => faultsOf(expr, families).map((fault) => `${file}: ${title}: ${fault}`)),
  );
}

function faultsOf(expression: string, families: readonly MetricFamily[]): readonly string[] {
  // What is grouped by are labels, and so is what stands in braces before an operator.
  const grouped = [...expression.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, labels]) => labels!.split(", "));
  const selected = [...expression.matchAll(/[{,]\s*(\w+)\s*(?:=~|!~|!=|=)/g)].map(([, label]) => label!);
  const names = expression.replaceAll(/\bby \([^)]*\)|"[^"]*"/g, "").match(METRIC) ?? [];
  const found = names.map((name) => familyOf(name, families));
  const labels = [...ADDED_LABELS, ...found.flatMap((family) => (family ? labelsOf(family) : []))];
  return [
    ...(names.length === 0 ? ["asks for no metric"] : []),
    ...names.filter((_, index) => found[index] === undefined).map((name) => `there is no ${name}`),
    ...[...grouped, ...selected]
      .filter((label) => !labels.includes(label))
      .map((label) => `its metrics have no label ${label}`),
  ];
}

/** A histogram is asked for by its parts only. */
function familyOf(sample: string, families: readonly MetricFamily[]): MetricFamily | undefined {
  return families.find(({ name, kind }) =>
    kind === "histogram"
      ? ["_bucket", "_sum", "_count"].some((part) => sample === `${name}${part}`)
      : sample === name,
  );
}

function labelsOf({ labels, kind }: MetricFamily): readonly string[] {
  return kind === "histogram" ? [...labels, "le"] : labels;
}

process.exitCode = main();
