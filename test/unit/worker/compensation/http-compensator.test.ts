import assert from "node:assert/strict";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { HttpClient } from "../../../../src/http/client.ts";
import type { HttpClientSettings } from "../../../../src/http/settings.ts";
import { createLog } from "../../../../src/telemetry/log.ts";
import { HttpCompensator } from "../../../../src/worker/compensation/http-compensator.ts";

const plain: HttpClientSettings = { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined };

async function listen(test: TestContext, server: Pick<Server, "listen" | "close" | "address" | "once">) {
  server.listen(0, "127.0.0.1");
  await once(server as Server, "listening");
  test.after(() => server.close());
  return (server.address() as AddressInfo).port;
}

/** Events, each of which a test waits for in turn. */
class Queue<T> {
  readonly #slots: PromiseWithResolvers<T>[] = [];
  #added = 0;
  #taken = 0;

  add(item: T): void {
    this.#slot(this.#added++).resolve(item);
  }

  next(): Promise<T> {
    return this.#slot(this.#taken++).promise;
  }

  #slot(index: number): PromiseWithResolvers<T> {
    this.#slots[index] ??= Promise.withResolvers();
    return this.#slots[index];
  }
}

async function prepare(test: TestContext) {
  const requests = new Queue<{ request: IncomingMessage; response: ServerResponse }>();
  const server = createServer((request, response) => requests.add({ request, response }));
  const port = await listen(test, server);
  const events = new Queue<string>();
  const lines: string[] = [];
  const compensator = new HttpCompensator({
    settings: {
      httpClient: plain,
      suspendUrl: `http://user:secret@127.0.0.1:${port}/suspend`,
      resumeUrl: `http://127.0.0.1:${port}/resume`,
    },
    timeouts: { suspend: () => events.add("suspended"), resume: () => events.add("resumed") },
    log: createLog("info", (line) => lines.push(line)),
    pause: async (milliseconds) => events.add(`pause of ${milliseconds} ms`),
  });
  test.after(async () => {
    await compensator[Symbol.asyncDispose]();
    server.closeAllConnections();
  });
  const expect = async (url: string) => {
    const { request, response } = await requests.next();
    assert.equal(request.url, url);
    return response;
  };
  return { compensator, events, expect, lines, requests };
}

describe("HttpCompensator", () => {
  it("suspends when the one URL is answered, and resumes when the other is, again and again", async (test) => {
    const { events, expect } = await prepare(test);
    for (let round = 0; round < 3; round++) {
      (await expect("/suspend")).end();
      assert.equal(await events.next(), "suspended");
      (await expect("/resume")).end();
      assert.equal(await events.next(), "resumed");
      // Else a server that answers everything at once would keep the process busy.
      assert.equal(await events.next(), "pause of 100 ms");
    }
  });

  it("repeats what fails, and leaves the clocks as they are until then", async (test) => {
    const { events, expect, lines } = await prepare(test);
    (await expect("/suspend")).writeHead(503).end();
    assert.equal(await events.next(), "pause of 1000 ms");
    (await expect("/suspend")).end();
    assert.equal(await events.next(), "suspended");
    (await expect("/resume")).socket!.destroy();
    assert.equal(await events.next(), "pause of 1000 ms");
    (await expect("/resume")).writeHead(204).end();
    assert.equal(await events.next(), "pause of 1000 ms");
    (await expect("/resume")).end();
    assert.equal(await events.next(), "resumed");
    assert.match(lines.join(""), /cannot get http:..127.0.0.1:[0-9]+.suspend: .* 503 instead of 200/);
    assert.doesNotMatch(lines.join(""), /secret/);
  });

  it("sends the credentials of its URL", async (test) => {
    const { requests } = await prepare(test);
    const { request } = await requests.next();
    assert.equal(request.headers.authorization, `Basic ${Buffer.from("user:secret").toString("base64")}`);
  });

  it("ends at once, with the clocks going", async (test) => {
    const { compensator, events, expect } = await prepare(test);
    (await expect("/suspend")).end();
    assert.equal(await events.next(), "suspended");
    const response = await expect("/resume");
    await compensator[Symbol.asyncDispose]();
    assert.equal(await events.next(), "resumed");
    await once(response, "close");
  });
});

/** As the client of these settings does it. */
const getOk = (url: string, settings: HttpClientSettings, signal: AbortSignal) =>
  new HttpClient(settings).getOk(url, signal);

describe("HttpClient", () => {
  /** What becomes of a request to a server that sends these bytes, and then ends the connection or does not. */
  async function outcome(test: TestContext, bytes: string, ends: boolean): Promise<string> {
    const server = createTcpServer((socket: Socket) => {
      socket.on("error", () => {});
      socket.once("data", () => {
        socket.write(bytes, "latin1");
        if (ends) {
          socket.end();
        }
      });
    });
    const port = await listen(test, server as never);
    const signal = new AbortController().signal;
    return getOk(`http://127.0.0.1:${port}/`, plain, signal).then(
      () => "ok",
      (error: Error) => error.message,
    );
  }

  for (const [what, bytes, ends, expected] of [
    [
      "an answer whose body never ends",
      "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nx",
      false,
      /^ok$/,
    ],
    ["an answer whose body is cut", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx", true, /^ok$/],
    ["an answer after a provisional one", "HTTP/1.1 103 \r\nA: b\r\n\r\nHTTP/1.1 200 \r\n\r\n", true, /^ok$/],
    ["no answer", "", true, /socket hang up|closed/],
    ["half a header", "HTTP/1.1 200 OK\r\nConte", true, /Parse Error|socket hang up/],
    ["headers without end", `HTTP/1.1 200 OK\r\nA: ${"a".repeat(100_000)}`, false, /Header overflow/],
    ["other bytes", "\x16\x03\x01\x02\0\x01\0\0", false, /Parse Error/],
    ["a redirection", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", false, /status 302/],
    ["another success", "HTTP/1.1 206 Partial Content\r\n\r\n", false, /status 206/],
    [
      "a switch to another protocol",
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
      false,
      /without an answer|hang up/,
    ],
  ] as const) {
    it(`takes ${what} for what it is`, async (test) => {
      assert.match(await outcome(test, bytes, ends), expected);
    });
  }

  it("sends headers, of which some occur more than once", async (test) => {
    const seen = new Queue<IncomingMessage>();
    const server = createServer((request, response) => {
      seen.add(request);
      response.end();
    });
    const port = await listen(test, server);
    const headers = [
      ["X-A", "1"],
      ["x-a", "2"],
      ["Authorization", "Bearer t"],
    ] as const;
    await getOk(`http://127.0.0.1:${port}/p?q=1`, { ...plain, headers }, new AbortController().signal);
    const request = await seen.next();
    assert.equal(request.url, "/p?q=1");
    assert.equal(request.headers["x-a"], "1, 2");
    assert.equal(request.headers.authorization, "Bearer t");
  });

  it("goes through a proxy", async (test) => {
    const server = createServer((request, response) => {
      response.writeHead(request.url === "http://unreachable.invalid/suspend" ? 200 : 500).end();
    });
    const port = await listen(test, server);
    const settings = { ...plain, proxyUrl: `http://127.0.0.1:${port}` };
    await getOk("http://unreachable.invalid/suspend", settings, new AbortController().signal);
  });

  it("checks the server's certificate, and shows its own", async (test) => {
    const certificates = join(import.meta.dirname, "../../grpc/certificates");
    const read = (name: string) => readFileSync(join(certificates, name), "utf8");
    const server = createTlsServer(
      {
        cert: read("first.pem"),
        key: read("first.key.pem"),
        ca: read("second.pem"),
        requestCert: true,
        rejectUnauthorized: true,
      },
      (_request, response) => response.end(),
    );
    const url = `https://127.0.0.1:${await listen(test, server)}/`;
    const { signal } = new AbortController();
    const trusted = { serverCertificateAuthorities: read("first.pem"), serverName: "localhost" };
    const ownKeyPair = {
      certificatePath: join(certificates, "second.pem"),
      privateKeyPath: join(certificates, "second.key.pem"),
      refreshMilliseconds: 1_000,
    };
    await getOk(url, { ...plain, tls: { ...trusted, clientKeyPair: ownKeyPair } }, signal);
    const inline = { certificate: read("second.pem"), privateKey: read("second.key.pem") };
    await getOk(url, { ...plain, tls: { ...trusted, clientKeyPair: inline } }, signal);
    await assert.rejects(getOk(url, { ...plain, tls: trusted }, signal));
    await assert.rejects(getOk(url, { ...plain, tls: { clientKeyPair: inline } }, signal), /certificate/);
  });

  it("rejects with the reason of an abort", async (test) => {
    const server = createServer(() => controller.abort(new Error("enough")));
    const controller = new AbortController();
    const port = await listen(test, server);
    test.after(() => server.closeAllConnections());
    await assert.rejects(getOk(`http://127.0.0.1:${port}/`, plain, controller.signal), /enough/);
    await assert.rejects(getOk(`http://127.0.0.1:${port}/`, plain, controller.signal), /enough/);
  });
});
