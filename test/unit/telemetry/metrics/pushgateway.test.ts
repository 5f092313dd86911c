import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { describe, it } from "node:test";
import { expose } from "../../../../src/telemetry/metrics/exposition.ts";
import { Metrics } from "../../../../src/telemetry/metrics/metrics.ts";
import {
  type PushgatewaySettings,
  pushMetrics,
  pushUrl,
} from "../../../../src/telemetry/metrics/pushgateway.ts";
import { familiesNamed } from "../../../../src/telemetry/metrics/text-format.ts";
import { parseExposition } from "./parse-exposition.ts";

const plainly = { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined } as const;

interface Request {
  readonly method: string | undefined;
  readonly path: string | undefined;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

/** A server that answers as it is told, and hands out the requests in their order. */
async function serve(respond: (response: ServerResponse, request: Request) => void) {
  const requests: Request[] = [];
  const server = createServer(async (incoming, response) => {
    const body = await text(incoming);
    const { method, url: path, headers } = incoming;
    const request = { method, path, headers, body };
    requests.push(request);
    server.emit("request taken");
    respond(response, request);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Resolves once there were so many requests. */
    async until(count: number): Promise<readonly Request[]> {
      while (requests.length < count) {
        await once(server, "request taken");
      }
      return requests;
    },
    async [Symbol.asyncDispose]() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function settings(url: string, changes: Partial<PushgatewaySettings> = {}): PushgatewaySettings {
  return {
    url,
    job: "bb_worker",
    grouping: { instance: "worker 1" },
    interval: 1,
    timeout: 10_000,
    httpClient: plainly,
    additionalScrapeTargets: [],
    ...changes,
  };
}

function counted() {
  const metrics = new Metrics();
  const counter = metrics.counter({ name: "test_things_total", help: "Things.", unit: "things" });
  counter.add(1);
  return { counter, exposition: expose(metrics) };
}

describe("the Pushgateway", { timeout: 20_000 }, () => {
  it("is sent all metrics at once, and again, in the place of those before", async () => {
    const { counter, exposition } = counted();
    await using gateway = await serve((response) => response.writeHead(202).end());
    const pushed = Promise.withResolvers<unknown>();
    const httpClient = { ...plainly, headers: [["authorization", "Basic abc"]] } as const;
    await using _ = pushMetrics(settings(gateway.url, { httpClient }), exposition, pushed.resolve);
    const [first] = await gateway.until(1);
    assert.equal(first?.method, "PUT");
    assert.equal(first.path, "/metrics/job/bb_worker/instance/worker%201");
    assert.equal(first.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert.equal(first.headers.authorization, "Basic abc");
    assert.equal(parseExposition(first.body).get("test_things_total")?.samples[0]?.value, 1);
    assert.equal(await pushed.promise, undefined, "the push went well");
    counter.add(1);
    const seen = (await gateway.until(2)).length;
    const later = (await gateway.until(seen + 2)).at(-1)!;
    assert.equal(parseExposition(later.body).get("test_things_total")?.samples[0]?.value, 2);
  });

  it("may refuse, or take too long: that is told, and the next push is tried", async () => {
    const { exposition } = counted();
    let count = 0;
    const answers: ((response: ServerResponse) => void)[] = [
      (response) => response.writeHead(400).end("inconsistent labels\n"),
      () => {},
      (response) => response.writeHead(200).end(),
    ];
    await using gateway = await serve((response) => answers[Math.min(count++, 2)]!(response));
    const outcomes: unknown[] = [];
    const done = Promise.withResolvers<void>();
    await using _ = pushMetrics(settings(gateway.url, { timeout: 200 }), exposition, (error) => {
      outcomes.push((error as Error | undefined)?.message);
      if (outcomes.length === 3) {
        done.resolve();
      }
    });
    await done.promise;
    assert.match(String(outcomes[0]), /status 400 instead of 200 or 202: inconsistent labels$/);
    assert.match(String(outcomes[1]), /timeout/);
    assert.equal(outcomes[2], undefined);
  });

  it("gets other programs' metrics along, those whose names match", async () => {
    const { exposition } = counted();
    const exposed = "# HELP node_x X.\n# TYPE node_x gauge\nnode_x 1\n# TYPE go_y gauge\ngo_y 2\n";
    await using other = await serve((response) => response.end(exposed));
    await using gateway = await serve((response) => response.end());
    const target = { url: other.url, httpClient: plainly, metricNamePattern: "^node_" };
    await using _ = pushMetrics(
      settings(gateway.url, { additionalScrapeTargets: [target] }),
      exposition,
      () => {},
    );
    const [push] = await gateway.until(1);
    const names = [...parseExposition(push!.body).keys()];
    assert.ok(names.includes("node_x") && names.includes("test_things_total") && !names.includes("go_y"));
  });

  it("is not waited for when the program ends", async () => {
    const { exposition } = counted();
    await using gateway = await serve(() => {});
    const pushing = pushMetrics(settings(gateway.url), exposition, () => assert.fail("nobody is told"));
    await gateway.until(1);
    await pushing[Symbol.asyncDispose]();
  });

  it("knows a process by labels with any value", () => {
    assert.equal(
      pushUrl({ url: "http://gateway/base/", job: "a/b", grouping: { none: "", c: "é?" } }),
      "http://gateway/base/metrics/job@base64/YS9i/none@base64/=/c/%C3%A9%3F",
    );
  });

  it("histograms go with their name", () => {
    const text = '# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\na_bucketed 3\nb 1\n# EOF\n';
    assert.equal(
      familiesNamed(text, (name) => name === "a"),
      '# TYPE a histogram\na_bucket{le="1"} 1\na_sum 1\na_count 1\n',
    );
    assert.equal(
      familiesNamed(text, (name) => name === "b"),
      "b 1\n",
    );
  });
});
