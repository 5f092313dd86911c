import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { serveDiagnostics } from "../../../../src/telemetry/diagnostics-server.ts";
import { html } from "../../../../src/telemetry/page/html.ts";
import { type StatusPageOptions, statusPages } from "../../../../src/telemetry/page/status-page.ts";
import { readEvents } from "./read-events.ts";

const local = {
  addresses: [{ host: "127.0.0.1", port: 0 }],
  tls: undefined,
  authentication: { kind: "allow", metadata: {} },
} as const;

/** A page with a section that changes and one that does not. */
async function serve(options: StatusPageOptions = {}) {
  const state = { text: "<first>", rendered: 0, fails: false };
  const sections = [
    {
      id: "changing",
      title: "What changes",
      content: () => {
        state.rendered++;
        assert.ok(!state.fails, "it cannot be read");
        return html`${state.text}`;
      },
    },
    { id: "same", title: "What stays", content: () => html`the same` },
  ];
  const pages = statusPages({ program: "bb_test", sections }, ["/metrics"], {
    intervalMilliseconds: 1,
    ...options,
  });
  const server = await serveDiagnostics([local], { pages });
  return { state, server, url: `http://127.0.0.1:${server.ports[0]}` };
}

describe("the page for people", { timeout: 20_000 }, () => {
  it("is complete without JavaScript, reloads itself then, and stands still when asked", async () => {
    const { server, url } = await serve();
    await using _ = server;
    const response = await fetch(`${url}/`);
    const text = await response.text();
    assert.match(text, /<div id="changing">&lt;first&gt;<\/div>/);
    assert.match(text, /<noscript><meta http-equiv="refresh" content="5"><\/noscript>/);
    assert.match(text, /<a href="\/metrics">/);
    const still = await (await fetch(`${url}/?still`)).text();
    assert.match(still, /&lt;first&gt;/);
    assert.doesNotMatch(still, /http-equiv="refresh"|<script/);
  });

  it("lets a browser load and run nothing but its own files", async () => {
    const { server, url } = await serve();
    await using _ = server;
    const response = await fetch(`${url}/`);
    const policy = response.headers.get("content-security-policy") ?? "";
    assert.match(policy, /default-src 'none'/);
    assert.doesNotMatch(policy, /unsafe|\*|https?:/);
    const text = await response.text();
    assert.doesNotMatch(text, /<script>|<style|style=|\son\w+=|(?:src|href)="(?:https?:)?\/\//);
    for (const [, file] of text.matchAll(/(?:src|href)="(page\.\w+)"/g)) {
      assert.equal((await fetch(`${url}/${file}`)).status, 200, file);
    }
  });

  it("tells a browser everything first, then what has changed", async () => {
    const { state, server, url } = await serve();
    await using _ = server;
    await using events = await readEvents(`${url}/events`);
    assert.deepEqual(await events.next(), { id: "changing", content: "&lt;first&gt;" });
    assert.deepEqual(await events.next(), { id: "same", content: "the same" });
    state.text = "second";
    assert.deepEqual(await events.next(), { id: "changing", content: "second" });
  });

  it("does nothing while nobody looks", async () => {
    const { state, server, url } = await serve();
    await using _ = server;
    const events = await readEvents(`${url}/events`);
    await events.next();
    await events[Symbol.asyncDispose]();
    const left = Promise.withResolvers<void>();
    let before = -1;
    const timer = setInterval(() => {
      if (state.rendered === before) {
        left.resolve();
      }
      before = state.rendered;
    }, 50);
    await left.promise;
    clearInterval(timer);
  });

  it("bounds how many browsers it tells, and survives a part that cannot be read", async () => {
    const { state, server, url } = await serve({ maximumListeners: 1 });
    await using _ = server;
    await using events = await readEvents(`${url}/events`);
    await events.next();
    assert.equal((await fetch(`${url}/events`)).status, 503);
    state.fails = true;
    await events.ended;
    assert.equal((await fetch(`${url}/`)).status, 500);
    assert.equal((await fetch(`${url}/-/healthy`)).status, 200);
  });
});
