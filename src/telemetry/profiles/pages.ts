import type { HeapProfiler, Profiler } from "node:inspector";
import { pipeline } from "node:stream/promises";
import type { Page, Pages } from "../diagnostics-server.ts";

const DEFAULT_SECONDS = 30;
const MAXIMUM_SECONDS = 600;

const INDEX = `Profiles of the main thread. SECONDS is 30 unless it is given.

/debug/pprof/profile?seconds=SECONDS            CPU, for go tool pprof
/debug/pprof/profile?seconds=SECONDS&format=v8  the same as .cpuprofile, for Chrome's DevTools
/debug/pprof/heap?seconds=SECONDS               what was allocated meanwhile and is still there, for go tool pprof
/debug/pprof/heap?seconds=SECONDS&format=v8     the same as .heapprofile, for Chrome's DevTools
/debug/pprof/heapsnapshot                       all of the heap as .heapsnapshot; the program stands still for that long
`;

/** What Go's programs have under `/debug/pprof/`, as far as V8 knows it. One profile is taken at a time. */
export function profilePages(): Pages {
  const exclusively = oneAtATime();
  return {
    "/debug/pprof/": (_request, response) => {
      response.writeHead(200, { "content-type": "text/plain; charset=utf-8" });
      response.end(INDEX);
    },
    "/debug/pprof/profile": exclusively(async (_request, response, query) => {
      const profile = await cpuProfile(secondsOf(query));
      if (query.get("format") === "v8") {
        download(response, "cpu.cpuprofile", JSON.stringify(profile));
      } else {
        const { cpuPprof } = await import("./pprof.ts");
        download(response, "cpu.pb.gz", cpuPprof(profile));
      }
    }),
    "/debug/pprof/heap": exclusively(async (_request, response, query) => {
      const profile = await heapProfile(secondsOf(query));
      if (query.get("format") === "v8") {
        download(response, "heap.heapprofile", JSON.stringify(profile));
      } else {
        const { heapPprof } = await import("./pprof.ts");
        download(response, "heap.pb.gz", heapPprof(profile));
      }
    }),
    "/debug/pprof/heapsnapshot": exclusively(async (_request, response) => {
      const { getHeapSnapshot } = await import("node:v8");
      response.writeHead(200, headers("heap.heapsnapshot"));
      await pipeline(getHeapSnapshot(), response);
    }),
  };
}

function oneAtATime(): (page: Page) => Page {
  let busy = false;
  return (page) => async (request, response, query) => {
    if (busy) {
      response.writeHead(429, { "content-type": "text/plain; charset=utf-8" });
      response.end("another profile is being taken\n");
      return;
    }
    busy = true;
    try {
      await page(request, response, query);
    } finally {
      busy = false;
    }
  };
}

function secondsOf(query: URLSearchParams): number {
  const seconds = Number(query.get("seconds") ?? DEFAULT_SECONDS);
  if (!(seconds > 0 && seconds <= MAXIMUM_SECONDS)) {
    throw new RangeError(`seconds: give more than 0 and at most ${MAXIMUM_SECONDS}`);
  }
  return seconds;
}

function headers(name: string): Record<string, string> {
  return {
    "content-type": "application/octet-stream",
    "content-disposition": `attachment; filename="${name}"`,
  };
}

function download(response: Parameters<Page>[1], name: string, content: string | Buffer): void {
  response.writeHead(200, headers(name));
  response.end(content);
}

async function cpuProfile(seconds: number): Promise<Profiler.Profile> {
  const { Session } = await import("node:inspector/promises");
  const { setTimeout } = await import("node:timers/promises");
  const session = new Session();
  session.connect();
  try {
    await session.post("Profiler.enable");
    await session.post("Profiler.start");
    await setTimeout(seconds * 1000);
    return (await session.post("Profiler.stop")).profile;
  } finally {
    session.disconnect();
  }
}

async function heapProfile(seconds: number): Promise<HeapProfiler.SamplingHeapProfile> {
  const { Session } = await import("node:inspector/promises");
  const { setTimeout } = await import("node:timers/promises");
  const session = new Session();
  session.connect();
  try {
    await session.post("HeapProfiler.startSampling");
    await setTimeout(seconds * 1000);
    return (await session.post("HeapProfiler.stopSampling")).profile;
  } finally {
    session.disconnect();
  }
}
