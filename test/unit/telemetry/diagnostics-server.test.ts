import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { serveDiagnostics } from "../../../src/telemetry/diagnostics-server.ts";
import { AuthenticationService } from "../authentication/authentication-service.ts";

const local = {
  addresses: [{ host: "127.0.0.1", port: 0 }],
  tls: undefined,
  authentication: { kind: "allow", metadata: {} },
} as const;

describe("the diagnostics server", () => {
  it("says that the program is up, and that nothing else is there", async () => {
    await using server = await serveDiagnostics([local]);
    const get = (path: string) => fetch(`http://127.0.0.1:${server.ports[0]}${path}`);
    assert.equal((await get("/-/healthy")).status, 200);
    assert.equal((await get("/-/healthy?x")).status, 200);
    for (const path of ["/", "/metrics", "/-/healthyx", "/debug/pprof/"]) {
      const response = await get(path);
      assert.equal(response.status, 404);
      assert.match(await response.text(), /only \/-\/healthy is served/);
    }
  });

  it("has pages, and says which; one that fails is answered all the same", async () => {
    const requests: string[] = [];
    const answered = Promise.withResolvers<void>();
    await using server = await serveDiagnostics([local], {
      pages: {
        "/query": (_request, response, query) => void response.end(query.get("x")),
        "/broken": () => assert.fail("broken"),
      },
      onRequest(method, status) {
        requests.push(`${method} ${status}`);
        if (requests.length === 4) {
          answered.resolve();
        }
      },
    });
    const get = (path: string, options?: RequestInit) =>
      fetch(`http://127.0.0.1:${server.ports[0]}${path}`, options);
    assert.equal(await (await get("/query?x=1%202")).text(), "1 2");
    const broken = await get("/broken");
    assert.deepEqual([broken.status, await broken.text()], [500, "broken\n"]);
    const missing = await get("/toString");
    assert.deepEqual(
      [missing.status, await missing.text()],
      [404, "not found: only /-/healthy, /query, /broken are served\n"],
    );
    assert.equal((await get("/query", { method: "POST" })).status, 405);
    await answered.promise;
    assert.deepEqual(requests, ["GET 200", "GET 500", "GET 404", "POST 405"]);
  });

  it("refuses everybody where the policy does", async () => {
    await using server = await serveDiagnostics([
      { ...local, authentication: { kind: "deny", message: "not you" } },
    ]);
    const response = await fetch(`http://127.0.0.1:${server.ports[0]}/-/healthy`);
    assert.deepEqual(
      [response.status, await response.text()],
      [401, "rpc error: code = Unauthenticated desc = not you\n"],
    );
  });

  it("names an address that cannot be had, and lets go of the others", async () => {
    await using taken = await serveDiagnostics([local]);
    const port = taken.ports[0]!;
    await assert.rejects(
      serveDiagnostics([local, { ...local, addresses: [{ host: "127.0.0.1", port }] }]),
      new RegExp(`^Error: cannot serve diagnostics on 127\\.0\\.0\\.1:${port}: `),
    );
  });
});

describe("a diagnostics server that asks a remote authenticator", () => {
  const asking = (address: string) =>
    ({
      ...local,
      authentication: {
        kind: "any",
        policies: [
          { kind: "deny", message: "not by itself" },
          {
            kind: "remote",
            endpoint: { address },
            headers: ["X-User"],
            scope: undefined,
            maximumCacheSize: 1,
          },
        ],
      },
    }) as const;

  it("answers whom the service lets in", async () => {
    using service = await AuthenticationService.start();
    await using server = await serveDiagnostics([asking(service.address)]);
    const get = (user: string, signal?: AbortSignal) =>
      fetch(`http://127.0.0.1:${server.ports[0]}/-/healthy`, {
        headers: { "x-user": user },
        signal: signal ?? null,
      });
    const first = get("kermit");
    const question = await service.next();
    assert.deepEqual(question.request, { requestMetadata: { "X-User": { value: ["kermit"] } } });
    question.answer({ verdict: { case: "allow", value: {} } });
    assert.equal((await first).status, 200);
    const second = get("robin");
    (await service.next()).answer({ verdict: { case: "deny", value: "no frogs" } });
    const refused = await second;
    assert.deepEqual(
      [refused.status, await refused.text()],
      [401, "rpc error: code = Unauthenticated desc = not by itself, no frogs\n"],
    );
  });

  it("gives up asking a service that hangs when the client does, or when it is to end", async () => {
    using service = await AuthenticationService.start();
    const server = await serveDiagnostics([asking(service.address)]);
    const get = (signal: AbortSignal | null) =>
      fetch(`http://127.0.0.1:${server.ports[0]}/-/healthy`, { signal });
    const controller = new AbortController();
    const given = get(controller.signal);
    const question = await service.next();
    controller.abort();
    await assert.rejects(given);
    await aborted(question.signal);
    const cut = get(null);
    const last = await service.next();
    await Promise.all([server[Symbol.asyncDispose](), assert.rejects(cut), aborted(last.signal)]);
  });
});

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) {
    await once(signal, "abort");
  }
}
