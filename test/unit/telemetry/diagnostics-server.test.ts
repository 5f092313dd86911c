import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { serveDiagnostics } from "../../../src/telemetry/diagnostics-server.ts";

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
