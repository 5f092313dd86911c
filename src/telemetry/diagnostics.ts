import { type HttpServerSettings, type Page, type Pages, serveDiagnostics } from "./diagnostics-server.ts";
import { SECONDS } from "./metrics/buckets.ts";
import type { Histogram, Metrics } from "./metrics/metrics.ts";
import { type StatusPage, statusPages } from "./page/status-page.ts";
import { profilePages } from "./profiles/pages.ts";
import type { ActiveSpans } from "./tracing/active-spans.ts";
import { activeSpansPage } from "./tracing/active-spans-page.ts";

/** What Buildbarn's DiagnosticsHTTPServerConfiguration says, as plain data. */
export interface DiagnosticsSettings {
  readonly servers: readonly HttpServerSettings[];
  /** Whether there is `/metrics`. */
  readonly prometheus: boolean;
  /** Whether there is `/active_spans`. */
  readonly activeSpans: boolean;
  /** Whether there is `/debug/pprof/`. */
  readonly profiles: boolean;
}

/** What there is to be shown of a program. */
export interface Diagnosed {
  /** With all its families; absent where nobody may see them. */
  readonly metrics: Metrics | undefined;
  readonly activeSpans: ActiveSpans | undefined;
  /** For people, at `/`. */
  readonly page: StatusPage | undefined;
}

/** Serves what the settings say, as {@link serveDiagnostics}. What only some pages need is loaded when they are served. */
export async function startDiagnostics(
  { servers, prometheus, profiles }: DiagnosticsSettings,
  { metrics, activeSpans, page }: Diagnosed,
): ReturnType<typeof serveDiagnostics> {
  const requests = metrics && servers.length > 0 ? requestMetrics(metrics) : undefined;
  const others: Pages = {
    ...(prometheus && metrics && servers.length > 0 && { "/metrics": await metricsPage(metrics) }),
    ...(profiles && profilePages()),
    ...(activeSpans && { "/active_spans": activeSpansPage(activeSpans) }),
  };
  return serveDiagnostics(servers, {
    pages: { ...others, ...(page && statusPages(page, Object.keys(others))) },
    onRequest: (method, status, seconds) =>
      requests?.observe(seconds, "Diagnostics", String(status), methodLabel(method)),
  });
}

/** How long the requests for diagnostics took. */
export function requestMetrics(metrics: Metrics): Histogram {
  return metrics.histogram(
    {
      name: "buildbarn_http_handler_requests_duration_seconds",
      help: "How long HTTP requests took, until they were answered.",
      unit: "seconds",
      labels: ["name", "code", "method"],
    },
    SECONDS,
  );
}

/** A label has few values, whatever somebody sends. */
function methodLabel(method: string): string {
  return ["GET", "HEAD", "POST"].includes(method) ? method.toLowerCase() : "unknown";
}

async function metricsPage(metrics: Metrics): Promise<Page> {
  const { expose } = await import("./metrics/exposition.ts");
  const exposition = expose(metrics);
  return async (_request, response) => {
    const text = await exposition.text();
    response.writeHead(200, { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
    response.end(text);
  };
}
