import assert from "node:assert/strict";

export interface ParsedSample {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface ParsedFamily {
  readonly help: string;
  readonly unit: string;
  readonly type: string;
  readonly samples: readonly ParsedSample[];
}

/**
 * Reads Prometheus' text format, version 0.0.4, strictly: each family with HELP, UNIT and TYPE before its samples, which
 * are nobody else's and occur once each; histograms with rising buckets up to +Inf, a count and a sum.
 */
export function parseExposition(text: string): ReadonlyMap<string, ParsedFamily> {
  const families = new Map<string, ParsedFamily & { samples: ParsedSample[] }>();
  const seen = new Set<string>();
  let about: { name: string; help: string; unit: string } | undefined;
  let current = "";
  for (const line of text.split("\n")) {
    const [, keyword, name = "", rest = ""] = /^# (HELP|UNIT|TYPE) ([a-zA-Z_:][\w:]*) (.+)$/.exec(line) ?? [];
    switch (keyword) {
      case "HELP":
        about = { name, help: rest, unit: "" };
        break;
      case "UNIT":
        assert.equal(about?.name, name, line);
        about.unit = rest;
        break;
      case "TYPE":
        assert.equal(about?.name, name, line);
        assert.ok(!families.has(name), `${name} comes twice`);
        assert.match(rest, /^(counter|gauge|histogram)$/);
        families.set(name, { help: about.help, unit: about.unit, type: rest, samples: [] });
        current = name;
        break;
      default:
        if (line !== "") {
          const sample = parseSample(line);
          const key = JSON.stringify([sample.name, Object.entries(sample.labels).sort()]);
          assert.ok(!seen.has(key), `${line} comes twice`);
          seen.add(key);
          const family = families.get(current);
          const suffix = sample.name.slice(current.length);
          assert.ok(sample.name.startsWith(current), line);
          assert.ok(
            family?.type === "histogram" ? ["_bucket", "_sum", "_count"].includes(suffix) : suffix === "",
            line,
          );
          family!.samples.push(sample);
        }
    }
  }
  for (const [name, { type, samples }] of families) {
    if (type === "histogram") {
      checkHistogram(name, samples);
    }
  }
  return families;
}

function parseSample(line: string): ParsedSample {
  const [, name = "", block = "", value = ""] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
  assert.notEqual(name, "", line);
  const labels: Record<string, string> = {};
  let rest = block;
  while (rest !== "") {
    const [all, label = "", text = ""] = /^([a-zA-Z_]\w*)="((?:[^"\\\n]|\\["\\n])*)"(?:,|$)/.exec(rest) ?? [];
    assert.notEqual(label, "", line);
    labels[label] = text.replaceAll(/\\(["\\n])/g, (_, escaped) => (escaped === "n" ? "\n" : escaped));
    rest = rest.slice(all!.length);
  }
  const number = value === "+Inf" ? Number.POSITIVE_INFINITY : Number(value);
  assert.ok(!Number.isNaN(number), line);
  return { name, labels, value: number };
}

function checkHistogram(name: string, samples: readonly ParsedSample[]): void {
  const series = new Map<string, ParsedSample[]>();
  for (const sample of samples) {
    const { le: _, ...labels } = sample.labels;
    const key = JSON.stringify(labels);
    series.set(key, [...(series.get(key) ?? []), sample]);
  }
  for (const [key, members] of series) {
    const buckets = members.filter((sample) => sample.name === `${name}_bucket`);
    const count = members.find((sample) => sample.name === `${name}_count`);
    assert.ok(
      members.some((sample) => sample.name === `${name}_sum`),
      `${name} ${key}`,
    );
    const bounds = buckets.map(({ labels }) => (labels.le === "+Inf" ? Infinity : Number(labels.le)));
    assert.deepEqual(
      bounds,
      [...bounds].sort((a, b) => a - b),
    );
    assert.equal(bounds.at(-1), Infinity, `${name} ${key}`);
    const values = buckets.map(({ value }) => value);
    assert.deepEqual(
      values,
      [...values].sort((a, b) => a - b),
    );
    assert.equal(values.at(-1), count?.value, `${name} ${key}`);
  }
}
