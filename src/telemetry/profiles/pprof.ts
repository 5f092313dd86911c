/*
 * To be imported only when somebody asks for a profile.
 */
import type { HeapProfiler, Profiler } from "node:inspector";
import { gzipSync } from "node:zlib";
import {
  Line,
  Location,
  Function as PprofFunction,
  Profile,
  Sample,
  StringTable,
  ValueType,
} from "pprof-format";

/** A CPU profile of V8's, as `pprof` reads it. */
export function cpuPprof({
  nodes,
  samples = [],
  timeDeltas = [],
  startTime,
  endTime,
}: Profiler.Profile): Buffer {
  const profile = new PprofBuilder([
    ["samples", "count"],
    ["cpu", "nanoseconds"],
  ]);
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])));
  const byId = new Map(nodes.map((node) => [node.id, node]));
  const totals = new Map<number, { count: number; microseconds: number }>();
  for (const [index, id] of samples.entries()) {
    const total = totals.get(id) ?? { count: 0, microseconds: 0 };
    total.count++;
    total.microseconds += timeDeltas[index] ?? 0;
    totals.set(id, total);
  }
  for (const [leaf, { count, microseconds }] of totals) {
    const stack: number[] = [];
    for (let id: number | undefined = leaf; id !== undefined; id = parents.get(id)) {
      const { callFrame } = byId.get(id)!;
      if (callFrame.functionName === "(idle)") {
        break;
      }
      stack.push(profile.location(callFrame));
    }
    if (stack.length > 0) {
      profile.sample(stack, [count, Math.round(microseconds * 1000)]);
    }
  }
  return profile.encode((endTime - startTime) * 1000, ["cpu", "nanoseconds"]);
}

/** A profile of V8's of what was allocated and is still there, as `pprof` reads it. */
export function heapPprof({ head }: HeapProfiler.SamplingHeapProfile): Buffer {
  const profile = new PprofBuilder([["inuse_space", "bytes"]]);
  const visit = (node: HeapProfiler.SamplingHeapProfileNode, above: readonly number[]): void => {
    const stack = [profile.location(node.callFrame), ...above];
    if (node.selfSize > 0) {
      profile.sample(stack, [node.selfSize]);
    }
    for (const child of node.children) {
      visit(child, stack);
    }
  };
  visit(head, []);
  return profile.encode(0, ["space", "bytes"]);
}

type Unit = readonly [type: string, unit: string];

interface CallFrame {
  readonly functionName: string;
  readonly url: string;
  /** From 0. */
  readonly lineNumber: number;
}

class PprofBuilder {
  readonly #strings = new StringTable();
  readonly #types: readonly Unit[];
  readonly #locations = new Map<string, number>();
  readonly #location: Location[] = [];
  readonly #function: PprofFunction[] = [];
  readonly #samples: Sample[] = [];

  constructor(types: readonly Unit[]) {
    this.#types = types;
  }

  /** The number of a location, one for each function. */
  location({ functionName, url, lineNumber }: CallFrame): number {
    const key = `${functionName} ${url} ${lineNumber}`;
    let id = this.#locations.get(key);
    if (id === undefined) {
      id = this.#location.length + 1;
      this.#locations.set(key, id);
      const name = this.#strings.dedup(functionName || "(anonymous)");
      const line = lineNumber + 1;
      this.#function.push(
        new PprofFunction({
          id,
          name,
          systemName: name,
          filename: this.#strings.dedup(url),
          startLine: line,
        }),
      );
      this.#location.push(new Location({ id, line: [new Line({ functionId: id, line })] }));
    }
    return id;
  }

  /** @param stack The innermost first. */
  sample(stack: readonly number[], value: readonly number[]): void {
    this.#samples.push(new Sample({ locationId: [...stack], value: [...value] }));
  }

  encode(durationNanos: number, period: Unit): Buffer {
    const type = ([name, unit]: Unit) =>
      new ValueType({ type: this.#strings.dedup(name), unit: this.#strings.dedup(unit) });
    const profile = new Profile({
      sampleType: this.#types.map(type),
      sample: this.#samples,
      location: this.#location,
      function: this.#function,
      stringTable: this.#strings,
      timeNanos: BigInt(Date.now()) * 1_000_000n,
      durationNanos,
      periodType: type(period),
      period: 1,
    });
    return gzipSync(profile.encode());
  }
}
