import { type DiagnosticsSettings, startDiagnostics } from "./diagnostics.ts";
import type { Log } from "./log.ts";
import { Metrics } from "./metrics/metrics.ts";
import { observeProcess } from "./metrics/process-metrics.ts";
import type { PushgatewaySettings } from "./metrics/pushgateway.ts";
import type { StatusPage } from "./page/status-page.ts";
import { ProblemLog } from "./problem-log.ts";
import { ActiveSpans } from "./tracing/active-spans.ts";
import type { OtlpConnection } from "./tracing/open-telemetry.ts";
import type { TracingSettings } from "./tracing/settings.ts";
import { NO_TRACER, type Tracer } from "./tracing/spans.ts";

/** What is configured of a program's telemetry, beside its log. */
export interface TelemetrySettings<Endpoint> {
  readonly diagnostics: DiagnosticsSettings;
  /** Where metrics are pushed to; absent if they are not. */
  readonly pushgateway: PushgatewaySettings | undefined;
  /** Absent where no spans are recorded. */
  readonly tracing: TracingSettings<Endpoint> | undefined;
}

/** A program's metrics, spans and diagnostics server: each only if it is configured, as then it must be loaded, too. */
export class Telemetry implements AsyncDisposable {
  /** For whoever counts something; absent where nobody can ask. */
  readonly metrics: Metrics | undefined;
  /** For whoever does something of which spans can tell. */
  readonly tracer: Tracer | undefined;
  readonly #diagnostics: DiagnosticsSettings;
  readonly #pushgateway: PushgatewaySettings | undefined;
  readonly #log: Log;
  readonly #activeSpans: ActiveSpans | undefined;
  readonly #resources: AsyncDisposableStack;

  private constructor(
    { diagnostics, pushgateway }: TelemetrySettings<unknown>,
    tracer: Tracer | undefined,
    log: Log,
    resources: AsyncDisposableStack,
  ) {
    this.#diagnostics = diagnostics;
    this.#pushgateway = pushgateway;
    this.#log = log;
    this.#resources = resources;
    this.#activeSpans = diagnostics.activeSpans ? new ActiveSpans(tracer ?? NO_TRACER) : undefined;
    this.tracer = this.#activeSpans ?? tracer;
    this.metrics = diagnostics.prometheus || pushgateway ? new Metrics() : undefined;
    if (this.metrics !== undefined) {
      observeProcess(this.metrics, resources);
    }
  }

  /** @param connectOtlp Makes the connections to tracing's backends. */
  static async start<Endpoint>(
    settings: TelemetrySettings<Endpoint>,
    connectOtlp: (endpoint: Endpoint) => OtlpConnection,
    log: Log,
  ): Promise<Telemetry> {
    await using resources = new AsyncDisposableStack();
    let tracer: Tracer | undefined;
    if (settings.tracing !== undefined) {
      const { startTracing } = await import("./tracing/open-telemetry.ts");
      const problems = new ProblemLog(log);
      tracer = resources.use(
        startTracing(settings.tracing, connectOtlp, (error) => problems.report("spans are lost", error)),
      );
    }
    return new Telemetry(settings, tracer, log, resources.move());
  }

  /**
   * Serves diagnostics, and `page` for people, and begins to push metrics, once the program is up and has all of them. Rejects with an Error
   * that names the address that cannot be had.
   */
  async serve(page?: StatusPage): Promise<void> {
    const { metrics } = this;
    const diagnosed = { metrics, activeSpans: this.#activeSpans, page };
    this.#resources.use(await startDiagnostics(this.#diagnostics, diagnosed));
    if (this.#pushgateway !== undefined && metrics !== undefined) {
      const [{ pushMetrics }, { expose }] = await Promise.all([
        import("./metrics/pushgateway.ts"),
        import("./metrics/exposition.ts"),
      ]);
      const problems = new ProblemLog(this.#log);
      const onPush = (error: unknown) =>
        error === undefined
          ? problems.over("metrics are pushed again")
          : problems.report("cannot push metrics", error);
      this.#resources.use(pushMetrics(this.#pushgateway, expose(metrics), onPush));
    }
  }

  /** Stops serving and pushing, and sends the last spans. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#resources.disposeAsync();
  }
}
