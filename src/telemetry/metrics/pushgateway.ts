import { setTimeout } from "node:timers/promises";
import { RE2JS } from "re2js";
import { HttpClient } from "../../http/client.ts";
import type { HttpClientSettings } from "../../http/settings.ts";
import type { Exposition } from "./exposition.ts";
import { familiesNamed } from "./text-format.ts";

/** What Buildbarn's PrometheusPushgatewayConfiguration says, as plain data. */
export interface PushgatewaySettings {
  /** Without "/metrics/job/…". */
  readonly url: string;
  readonly job: string;
  /** More labels by which the gateway tells processes apart. */
  readonly grouping: Readonly<Record<string, string>>;
  /** Milliseconds from the end of a push to the next. */
  readonly interval: number;
  /** Milliseconds that a push may take. */
  readonly timeout: number;
  readonly httpClient: HttpClientSettings;
  /** Other programs whose metrics are pushed along. */
  readonly additionalScrapeTargets: readonly ScrapeTarget[];
}

export interface ScrapeTarget {
  readonly url: string;
  readonly httpClient: HttpClientSettings;
  /** A regular expression of RE2's, which the families' names contain. */
  readonly metricNamePattern: string;
}

const TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8";
/** What another program may answer with. */
const MAXIMUM_SCRAPE_BYTES = 64 * 1024 * 1024;
/** Of a refusal, so much is passed on. */
const SHOWN_ANSWER_BYTES = 1000;

/**
 * Pushes all metrics to a Prometheus Pushgateway at once and then again and again, in the place of what it was sent before by
 * this job and grouping, until it is disposed of.
 *
 * @param onPush Called after each push: with what went wrong, if anything did. The next one is tried all the same.
 */
export function pushMetrics(
  settings: PushgatewaySettings,
  exposition: Exposition,
  onPush: (error: unknown) => void,
): AsyncDisposable {
  const stopping = new AbortController();
  const { signal } = stopping;
  const pusher = new Pusher(settings, exposition);
  const run = async () => {
    while (!signal.aborted) {
      const error = await pusher.push(signal).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (signal.aborted) {
        return;
      }
      onPush(error);
      // An abort ends the pause early.
      await setTimeout(settings.interval, undefined, { signal, ref: false }).catch(() => {});
    }
  };
  const running = run();
  return {
    async [Symbol.asyncDispose]() {
      stopping.abort();
      await running;
    },
  };
}

class Pusher {
  readonly #settings: PushgatewaySettings;
  readonly #exposition: Exposition;
  readonly #url: string;
  readonly #client: HttpClient;
  readonly #others: readonly { url: string; client: HttpClient; pattern: RE2JS }[];

  constructor(settings: PushgatewaySettings, exposition: Exposition) {
    this.#settings = settings;
    this.#exposition = exposition;
    this.#url = pushUrl(settings);
    this.#client = new HttpClient(settings.httpClient);
    this.#others = settings.additionalScrapeTargets.map(({ url, httpClient, metricNamePattern }) => ({
      url,
      client: new HttpClient(httpClient),
      pattern: RE2JS.compile(metricNamePattern),
    }));
  }

  async push(stopping: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([stopping, AbortSignal.timeout(this.#settings.timeout)]);
    const own = await this.#exposition.text();
    const others = await Promise.all(
      this.#others.map(async ({ url, client, pattern }) =>
        familiesNamed(await scrape(client, url, signal), (name) => pattern.matcher(name).find()),
      ),
    );
    const request = {
      method: "PUT",
      headers: [["content-type", TEXT_FORMAT]],
      body: own + others.join(""),
    } as const;
    using response = await this.#client.request(this.#url, request, signal);
    if (response.status !== 200 && response.status !== 202) {
      const answer = await response.text(SHOWN_ANSWER_BYTES).catch(() => "");
      throw new Error(
        `the Pushgateway answered with status ${response.status} instead of 200 or 202: ${answer.trim()}`,
      );
    }
  }
}

async function scrape(client: HttpClient, url: string, signal: AbortSignal): Promise<string> {
  using response = await client.request(url, { headers: [["accept", TEXT_FORMAT]] }, signal);
  if (response.status !== 200) {
    throw new Error(`${url} answered with status ${response.status} instead of 200`);
  }
  return response.text(MAXIMUM_SCRAPE_BYTES);
}

/** The grouping key as a path. Values that would not be one segment are in base 64, as the gateway wants it. */
export function pushUrl({
  url,
  job,
  grouping,
}: Pick<PushgatewaySettings, "url" | "job" | "grouping">): string {
  const segments = Object.entries({ job, ...grouping }).map(([name, value]) => {
    if (value === "") {
      return `${name}@base64/=`;
    }
    return value.includes("/")
      ? `${name}@base64/${Buffer.from(value).toString("base64url")}`
      : `${name}/${encodeURIComponent(value)}`;
  });
  return `${url.replace(/\/+$/, "")}/metrics/${segments.join("/")}`;
}
