import { readdirSync, readFileSync } from "node:fs";
import {
  constants,
  monitorEventLoopDelay,
  type PerformanceEntry,
  PerformanceObserver,
} from "node:perf_hooks";
import type { Metrics, Sample } from "./metrics.ts";

/** Linux's, on all architectures that Node runs on. */
const TICKS_PER_SECOND = 100;
const NANOSECONDS = 1e9;
const DELAYS = [
  ["p50", 50],
  ["p90", 90],
  ["p99", 99],
  ["max", 100],
] as const;
const DELAY_RESOLUTION_MILLISECONDS = 10;

/**
 * What the operating system and V8 know of this process: `process_…` as the clients of Prometheus for Go and others have
 * it, `nodejs_…` as those for Node.js.
 */
export function observeProcess(metrics: Metrics, resources: DisposableStack | AsyncDisposableStack): void {
  observeOperatingSystem(metrics);
  observeMemory(metrics);
  observeEventLoop(metrics, resources);
  observeGarbageCollection(metrics, resources);
  const threads = new ThreadTimes();
  metrics.observe(
    "counter",
    {
      name: "bb_worker_nfs4_thread_cpu_seconds_total",
      help: "CPU time of the process's threads, by their names: of threads with the same name together.",
      unit: "seconds",
      labels: ["thread"],
    },
    () => threads.read(),
  );
}

function observeOperatingSystem(metrics: Metrics): void {
  const started = Date.now() / 1000 - process.uptime();
  metrics.observe(
    "counter",
    { name: "process_cpu_seconds_total", help: "User and system CPU time of the process.", unit: "seconds" },
    () => {
      const { user, system } = process.cpuUsage();
      return (user + system) / 1e6;
    },
  );
  metrics.observe(
    "gauge",
    { name: "process_start_time_seconds", help: "When the process began, since the epoch.", unit: "seconds" },
    () => started,
  );
  metrics.observe(
    "gauge",
    { name: "process_resident_memory_bytes", help: "Memory of the process that is in RAM.", unit: "bytes" },
    () => process.memoryUsage.rss(),
  );
  metrics.observe(
    "gauge",
    { name: "process_virtual_memory_bytes", help: "Address space of the process.", unit: "bytes" },
    () => Number(/^VmSize:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? 0) * 1024,
  );
  metrics.observe(
    "gauge",
    { name: "process_open_fds", help: "File descriptors that are open.", unit: "descriptors" },
    // One of them is for looking.
    () => readdirSync("/proc/self/fd").length - 1,
  );
  metrics.observe(
    "gauge",
    { name: "process_max_fds", help: "File descriptors that may be open.", unit: "descriptors" },
    () => {
      const [, soft] = /^Max open files\s+(\S+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
      return soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft ?? 0);
    },
  );
}

function observeMemory(metrics: Metrics): void {
  const gauge = (name: string, help: string, field: Exclude<keyof NodeJS.MemoryUsage, "rss">) =>
    metrics.observe("gauge", { name, help, unit: "bytes" }, () => process.memoryUsage()[field]);
  gauge("nodejs_heap_size_total_bytes", "Size of the main thread's V8 heap.", "heapTotal");
  gauge("nodejs_heap_size_used_bytes", "What is used of the main thread's V8 heap.", "heapUsed");
  gauge(
    "nodejs_external_memory_bytes",
    "Memory outside of the heap that belongs to its objects.",
    "external",
  );
}

/** Since the last time it was read. */
function observeEventLoop(metrics: Metrics, resources: DisposableStack | AsyncDisposableStack): void {
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MILLISECONDS });
  delay.enable();
  resources.defer(() => void delay.disable());
  metrics.observe(
    "gauge",
    {
      name: "nodejs_eventloop_delay_seconds",
      help: "How late the main thread's event loop was since the last scrape: percentiles, and the worst.",
      unit: "seconds",
      labels: ["statistic"],
    },
    () => {
      const samples = DELAYS.map(([statistic, percentile]) => ({
        labels: [statistic],
        // A timer that is on time is one resolution apart from the one before.
        value: Math.max(0, delay.percentile(percentile) / NANOSECONDS - DELAY_RESOLUTION_MILLISECONDS / 1000),
      }));
      delay.reset();
      return samples;
    },
  );
}

const COLLECTIONS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MAJOR]: "major",
  [constants.NODE_PERFORMANCE_GC_MINOR]: "minor",
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: "incremental",
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: "weakcb",
};

function observeGarbageCollection(metrics: Metrics, resources: DisposableStack | AsyncDisposableStack): void {
  const durations = metrics.histogram(
    {
      name: "nodejs_gc_duration_seconds",
      help: "Garbage collections of the main thread, by kind: major, minor, incremental or weakcb.",
      unit: "seconds",
      labels: ["kind"],
    },
    [0.001, 0.01, 0.1, 1, 2, 5],
  );
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const { kind } = (entry as PerformanceEntry & { readonly detail: { readonly kind: number } }).detail;
      durations.observe(entry.duration / 1000, COLLECTIONS[kind] ?? "other");
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  resources.defer(() => observer.disconnect());
}

/** CPU times of threads, added up by name; those of threads that have ended stay in the sum. */
class ThreadTimes {
  readonly #lastOf = new Map<string, number>();
  readonly #sums = new Map<string, number>();

  *read(): Iterable<Sample<number>> {
    const threads = readdirSync("/proc/self/task");
    for (const thread of threads) {
      this.#add(thread);
    }
    for (const thread of this.#lastOf.keys()) {
      if (!threads.includes(thread)) {
        this.#lastOf.delete(thread);
      }
    }
    for (const [name, ticks] of this.#sums) {
      yield { labels: [name], value: ticks / TICKS_PER_SECOND };
    }
  }

  #add(thread: string): void {
    let stat: string;
    try {
      stat = readFileSync(`/proc/self/task/${thread}/stat`, "utf8");
    } catch {
      // It has ended meanwhile.
      return;
    }
    const [, name = "", rest = ""] = /^\d+ \((.*)\) (.*)$/s.exec(stat) ?? [];
    const fields = rest.split(" ");
    const ticks = Number(fields[11]) + Number(fields[12]);
    this.#sums.set(name, (this.#sums.get(name) ?? 0) + ticks - (this.#lastOf.get(thread) ?? 0));
    this.#lastOf.set(thread, ticks);
  }
}
