import { setTimeout } from "node:timers/promises";
import type { HttpClient } from "../../http/client.ts";
import { type PodAddress, podAddresses } from "./endpoints.ts";
import type { KubernetesTarget } from "./target.ts";

/** How long the API server is to keep a watch open. */
const WATCH_SECONDS = 300;
/** And how long it may take to end it. */
const GRACE_MILLISECONDS = 30_000;
/** An object has at most 1.5 MiB where Kubernetes keeps it, as binary. */
const MAXIMUM_EVENT_BYTES = 8 * 1024 * 1024;

export interface WatchOptions {
  readonly client: HttpClient;
  readonly apiServerUrl: string;
  readonly target: KubernetesTarget;
  /** Called with the addresses whenever there are others; never with none. */
  readonly onAddresses: (addresses: readonly PodAddress[]) => void;
  /** Called when a watch fails. It is begun again. */
  readonly onError: (error: Error) => void;
  /** Between watches that fail: the first delay, which doubles, and the longest. Milliseconds. */
  readonly delays?: readonly [first: number, longest: number];
}

/** Follows where a service's pods are, by the API server's watch of its Endpoints, until it is disposed of. */
export class EndpointsWatch implements Disposable {
  readonly #options: WatchOptions;
  readonly #ending = new AbortController();
  #delay: number;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#delay = this.#delays[0];
    void this.#follow();
  }

  [Symbol.dispose](): void {
    this.#ending.abort();
  }

  get #delays(): readonly [number, number] {
    return this.#options.delays ?? [1000, 30_000];
  }

  async #follow(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.#watch(signal);
      } catch (error) {
        if (!signal.aborted) {
          this.#options.onError(error as Error);
        }
      }
      // Ends early with the watch.
      await setTimeout(this.#delay, undefined, { signal, ref: false }).catch(() => {});
      this.#delay = Math.min(2 * this.#delay, this.#delays[1]);
    }
  }

  /** A watch that says not since when begins with what there is. Rejects with an Error if it fails. */
  async #watch(ending: AbortSignal): Promise<void> {
    const { client, apiServerUrl, target } = this.#options;
    const url = new URL(
      `${apiServerUrl.replace(/\/+$/, "")}/api/v1/namespaces/${target.namespace}/endpoints`,
    );
    url.searchParams.set("watch", "true");
    url.searchParams.set("fieldSelector", `metadata.name=${target.service}`);
    url.searchParams.set("timeoutSeconds", String(WATCH_SECONDS));
    const signal = AbortSignal.any([ending, AbortSignal.timeout(WATCH_SECONDS * 1000 + GRACE_MILLISECONDS)]);
    using response = await client.request(url.href, {}, signal);
    if (response.status !== 200) {
      throw new Error(`the API server answered with status ${response.status} instead of 200`);
    }
    for await (const line of response.lines(MAXIMUM_EVENT_BYTES)) {
      if (ending.aborted) {
        return;
      }
      this.#take(JSON.parse(line));
      this.#delay = this.#delays[0];
    }
  }

  /** Of a service that is gone, the addresses stay, as do those of one without pods that are ready. */
  #take(event: unknown): void {
    const { type, object } = (event ?? {}) as { type?: unknown; object?: { message?: unknown } };
    switch (type) {
      case "ADDED":
      case "MODIFIED": {
        const addresses = podAddresses(object, this.#options.target.port);
        if (addresses.length > 0) {
          this.#options.onAddresses(addresses);
        }
        return;
      }
      case "DELETED":
      case "BOOKMARK":
        return;
      default:
        throw new Error(`the API server ended the watch: ${object?.message ?? "no event of Kubernetes'"}`);
    }
  }
}
