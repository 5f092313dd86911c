import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { TokenSource } from "../../../src/http/oauth2.ts";
import type { HttpRequest } from "../../../src/http/settings.ts";

interface Answer {
  readonly status?: number;
  readonly contentType?: string;
  readonly body: string;
}

/** A token source whose server gives these answers, one after the other, and a clock for it. */
function prepare(answers: readonly Answer[], scopes: readonly string[] = []) {
  const requests: { url: string; request: HttpRequest }[] = [];
  const clock = { now: 1_000_000 };
  const settings = {
    clientId: "me & you",
    clientSecret: "a:b",
    tokenEndpointUrl: "https://tokens/",
    scopes,
    httpClient: { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined },
  };
  const client = {
    async request(url: string, request: HttpRequest) {
      requests.push({ url, request });
      const { status = 200, contentType = "application/json", body } = answers[requests.length - 1]!;
      return { status, contentType, text: async () => body, [Symbol.dispose]() {} };
    },
  };
  return { source: new TokenSource(settings, client, () => clock.now), requests, clock };
}

const token = (name: string, more: object = {}) => ({
  body: JSON.stringify({ access_token: name, ...more }),
});

describe("TokenSource", () => {
  it("asks by the client credentials grant, with the credentials in a header", async () => {
    const { source, requests } = prepare([token("t", { token_type: "bearer" })], ["read", "write"]);
    assert.equal(await source.authorization(), "Bearer t");
    const credentials = Buffer.from("me+%26+you:a%3Ab").toString("base64");
    assert.deepEqual(requests, [
      {
        url: "https://tokens/",
        request: {
          method: "POST",
          headers: [
            ["content-type", "application/x-www-form-urlencoded"],
            ["authorization", `Basic ${credentials}`],
          ],
          body: "grant_type=client_credentials&scope=read+write",
        },
      },
    ]);
  });

  it("keeps a token until shortly before it expires, and asks once for all who wait", async () => {
    const { source, requests, clock } = prepare([
      token("1", { expires_in: 60 }),
      token("2", { expires_in: "60" }),
    ]);
    assert.deepEqual(await Promise.all([source.authorization(), source.authorization()]), [
      "Bearer 1",
      "Bearer 1",
    ]);
    clock.now += 49_999;
    assert.equal(await source.authorization(), "Bearer 1");
    clock.now += 1;
    assert.equal(await source.authorization(), "Bearer 2");
    assert.equal(requests.length, 2);
  });

  it("puts the credentials into the body, from then on, where a server wants them there", async () => {
    const refusal = { status: 401, body: "{}" };
    const { source, requests, clock } = prepare([refusal, token("1", { expires_in: 60 }), token("2")]);
    assert.equal(await source.authorization(), "Bearer 1");
    clock.now += 60_000;
    assert.equal(await source.authorization(), "Bearer 2");
    assert.deepEqual(
      requests.map(({ request }) => request.headers?.length),
      [2, 1, 1],
    );
    assert.match(requests[1]!.request.body!, /client_id=me\+%26\+you&client_secret=a%3Ab/);
    clock.now += 1e12;
    assert.equal(await source.authorization(), "Bearer 2");
  });

  it("takes an answer that is a form", async () => {
    const form = { contentType: "text/plain; charset=utf-8", body: "access_token=t&token_type=MAC" };
    assert.equal(await prepare([form]).source.authorization(), "MAC t");
  });

  it("says what the server says of an error, and asks again the next time", async () => {
    const refusal = { status: 400, body: '{"error":"invalid_scope","error_description":"no"}' };
    const { source } = prepare([refusal, refusal, token("t")]);
    await assert.rejects(source.authorization(), /status 400: invalid_scope: no$/);
    assert.equal(await source.authorization(), "Bearer t");
    for (const body of ["", "[]", "null", "{}", '{"access_token":""}', '{"access_token":1}', "\0"]) {
      await assert.rejects(prepare([{ body }, { body }]).source.authorization(), /no access_token$/, body);
    }
  });
});
