import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, it } from "node:test";
import fc from "fast-check";
import { exchangeOf } from "../../../../src/authentication/http/exchange.ts";
import { OidcAuthenticator } from "../../../../src/authentication/http/oidc.ts";
import { refusalOf } from "../../../../src/authentication/http/refusal.ts";
import { SessionCookie } from "../../../../src/authentication/http/session-cookie.ts";
import type { OidcSettings } from "../../../../src/authentication/http/settings.ts";
import { Provider } from "./provider.ts";

const plainHttp = { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined };

/** A server that answers with what is known of whoever is let in, and a browser with one cookie. */
async function prepare(provider: Provider, changes: Partial<OidcSettings> = {}) {
  const clock = { now: 1_700_000_000_000 };
  const resources = new AsyncDisposableStack();
  const server = createServer((request, response) => {
    authenticator.authenticate(exchangeOf(request, response)).then(
      (known) => known && response.end(JSON.stringify(known)),
      (error: unknown) => {
        const { status, text } = refusalOf(error);
        response.writeHead(status).end(text);
      },
    );
  }).listen(0, "127.0.0.1");
  resources.defer(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, "listening");
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const authenticator = resources.use(
    new OidcAuthenticator(
      {
        clientId: "me",
        clientSecret: "secret",
        authorizationEndpointUrl: `${provider.url}/authorize?x=1`,
        tokenEndpointUrl: `${provider.url}/token`,
        userInfoEndpointUrl: `${provider.url}/userinfo`,
        metadataExtraction: { expression: "{public: email}", files: [] },
        redirectUrl: `${origin}/callback`,
        scopes: ["openid", "email"],
        cookieSeed: randomBytes(32).toString("base64"),
        httpClient: plainHttp,
        ...changes,
      },
      () => clock.now,
    ),
  );
  const browser = { cookie: "" };
  const get = async (path: string, headers: Record<string, string> = {}, signal?: AbortSignal) => {
    const response = await fetch(path.startsWith("/") ? `${origin}${path}` : path, {
      redirect: "manual",
      headers: { ...(browser.cookie && { cookie: `other=1; ${browser.cookie}` }), ...headers },
      signal: signal ?? null,
    });
    const [set] = response.headers.getSetCookie();
    if (set !== undefined) {
      assert.match(set, /^[-\w]{22}=[-\w]+; Path=\/; HttpOnly; Secure; SameSite=Lax$/);
      browser.cookie = set.split(";")[0]!;
    }
    return {
      status: response.status,
      location: response.headers.get("location") ?? "",
      text: await response.text(),
    };
  };
  return {
    clock,
    browser,
    get,
    /** Goes all the way, from a page to the same one. */
    async logIn(path = "/page") {
      const { location } = await get(path);
      return get(provider.logIn(location));
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

describe("OidcAuthenticator", () => {
  it("sends users to the provider, learns who they are, and lets them in until the token expires", async () => {
    await using provider = await Provider.start();
    provider.more = { expires_in: 100 };
    await using server = await prepare(provider);
    const sent = await server.get("/page?a=1");
    assert.equal(sent.status, 303);
    const back = await server.get(provider.logIn(sent.location));
    assert.deepEqual([back.status, back.location, back.text], [303, "/page?a=1", ""]);
    for (server.clock.now of [server.clock.now, server.clock.now + 99_999]) {
      assert.deepEqual(await server.get(back.location), {
        status: 200,
        location: "",
        text: '{"public":"kermit@example.com"}',
      });
    }
    assert.deepEqual(provider.grants, ["authorization_code"]);
    provider.claims = { email: "robin@example.com" };
    server.clock.now++;
    assert.equal((await server.get("/page")).text, '{"public":"robin@example.com"}');
    assert.equal((await server.get("/page")).text, '{"public":"robin@example.com"}');
    assert.deepEqual(provider.grants, ["authorization_code", "refresh_token"]);
  });

  it("asks a provider that does not say how long tokens are good for after 1, 2, 4 minutes", async () => {
    await using provider = await Provider.start();
    await using server = await prepare(provider);
    await server.logIn();
    for (const milliseconds of [60_000, 120_000, 240_000]) {
      const before = provider.grants.length;
      server.clock.now += milliseconds - 1;
      assert.equal((await server.get("/page")).status, 200);
      assert.equal(provider.grants.length, before);
      server.clock.now += 1;
      assert.equal((await server.get("/page")).status, 200);
      assert.equal(provider.grants.length, before + 1);
    }
  });

  it("has users log in anew when the provider gives no other token", async () => {
    await using provider = await Provider.start();
    provider.refreshes = false;
    await using server = await prepare(provider);
    await server.logIn();
    server.clock.now += 60_000;
    assert.equal((await server.get("/page")).status, 303);
    assert.deepEqual(provider.grants, ["authorization_code"]);
    provider.refreshes = true;
    await server.logIn();
    server.clock.now += 60_000;
    provider.userInfoStatus = 403;
    const { status, location } = await server.get("/page");
    assert.equal(status, 303);
    provider.userInfoStatus = 200;
    assert.equal((await server.get(provider.logIn(location))).status, 303);
    assert.equal((await server.get("/page")).status, 200);
  });

  it("believes the claims of an ID token where it is to", async () => {
    await using provider = await Provider.start();
    await using server = await prepare(provider, { userInfoEndpointUrl: undefined });
    const token = (payload: string) => `e30.${Buffer.from(payload).toString("base64url")}.e30`;
    provider.more = { id_token: token('{"email":"gonzo@example.com"}') };
    await server.logIn();
    assert.equal((await server.get("/page")).text, '{"public":"gonzo@example.com"}');
    for (const [id_token, reason] of [
      ["", "No ID token present in OIDC server response"],
      ["e30", "Invalid ID token format"],
      [token("[]"), "Failed to unmarshal ID token claims"],
      ["a.%%.b", "Failed to unmarshal ID token claims"],
    ]) {
      provider.more = { id_token };
      server.browser.cookie = "";
      const { status, text } = await server.logIn();
      assert.deepEqual(
        [status, text],
        [500, `rpc error: code = Internal desc = Failed to obtain claims: ${reason}`],
      );
    }
  });

  it("sends nobody away who loads no page", async () => {
    await using provider = await Provider.start();
    await using server = await prepare(provider);
    assert.deepEqual(await server.get("/page", { "sec-fetch-dest": "image" }), {
      status: 401,
      location: "",
      text: "rpc error: code = Unauthenticated desc = No valid OIDC session state cookie found",
    });
    assert.equal((await server.get("/page", { "sec-fetch-dest": "document" })).status, 303);
  });

  it("takes nobody back whom it has not sent, or whose state is another's", async () => {
    await using provider = await Provider.start();
    await using server = await prepare(provider);
    const refused = (text: string) => ({
      status: 400,
      location: "",
      text: `rpc error: code = InvalidArgument desc = ${text}`,
    });
    const none = refused("No valid OIDC session state cookie found");
    assert.deepEqual(await server.get("/callback?code=x&state=y"), none);
    const back = provider.logIn((await server.get("/page")).location);
    const { cookie } = server.browser;
    const another = refused("State verifier does not match with OIDC session state cookie");
    for (const state of ["", "state=", "state=AAAAAAAAAAAAAAAAAAAAAA", "state=%00"]) {
      assert.deepEqual(await server.get(`/callback?code=x&${state}`), another);
    }
    const flipped = Buffer.from(cookie.split("=")[1]!, "base64url");
    flipped[20]! ^= 1;
    for (const value of [flipped.toString("base64url"), "", "AAAA", "%", "A".repeat(5000)]) {
      server.browser.cookie = `${cookie.split("=")[0]}=${value}`;
      assert.deepEqual(await server.get(back), none);
    }
    server.browser.cookie = cookie;
    assert.equal((await server.get(back)).status, 303);
    assert.deepEqual(
      await server.get(back),
      refused("OIDC session state cookie cannot be used to validate callback state"),
    );
    assert.deepEqual(provider.grants, ["authorization_code"]);
  });

  it("takes no user to another server afterwards", async () => {
    await using provider = await Provider.start();
    await using server = await prepare(provider);
    const location = async (path: string) => {
      server.browser.cookie = "";
      return (await server.logIn(path)).location;
    };
    assert.equal(await location("//evil.example/x"), "/evil.example/x");
    assert.equal(await location("/\\evil.example/x"), "/evil.example/x");
    assert.equal(await location("/a//b"), "/a//b");
  });

  it("says why a login failed, and names no endpoint", async () => {
    await using provider = await Provider.start();
    await using server = await prepare(provider);
    const { location } = await server.get("/page");
    const back = new URL(provider.logIn(location));
    back.searchParams.set("code", "another");
    assert.deepEqual(await server.get(back.href), {
      status: 500,
      location: "",
      text: "rpc error: code = Unknown desc = Failed to obtain token: the token server answered with status 400: invalid_grant",
    });
    const failed = async () => {
      server.browser.cookie = "";
      const { status, text } = await server.logIn();
      return [status, text.replace("rpc error: code = ", "")];
    };
    provider.userInfoStatus = 500;
    assert.deepEqual(await failed(), [
      503,
      "Unavailable desc = Failed to obtain claims: Requesting claims failed with HTTP status 500",
    ]);
    provider.userInfoStatus = 200;
    provider.claims = ["x"];
    assert.deepEqual(await failed(), [
      500,
      "Unknown desc = Failed to obtain claims: Failed to unmarshal claims",
    ]);
    provider.claims = { email: "x".repeat(2 ** 20) };
    assert.match(String((await failed())[1]), /Failed to request claims: the server's answer has more than/);
    await using odd = await prepare(provider, {
      metadataExtraction: { expression: "{nonsense: email}", files: [] },
    });
    provider.claims = {};
    assert.match((await odd.logIn()).text, /InvalidArgument desc = Failed to convert JSON authentication/);
  });

  it("gives up a provider that hangs when the user does", async () => {
    await using provider = await Provider.start();
    await using server = await prepare(provider);
    const back = provider.logIn((await server.get("/page")).location);
    provider.hanging = Promise.withResolvers();
    const controller = new AbortController();
    const response = server.get(back, {}, controller.signal);
    const request = await provider.hanging.promise;
    const closed = once(request.socket, "close");
    controller.abort();
    await assert.rejects(response);
    await closed;
  });
});

describe("SessionCookie", () => {
  it("reads only what was sealed with its seed", () => {
    const [one, other] = [new SessionCookie(Buffer.alloc(32, 1)), new SessionCookie(Buffer.alloc(32, 2))];
    const value = { originalRequestUri: "/x", stateVerifier: randomBytes(16), codeVerifier: randomBytes(32) };
    const [pair] = one.set({ case: "authenticating", value }).split(";");
    const read = one.read([`a=b; ${pair}; c`]);
    assert.equal(read?.case === "authenticating" && read.value.originalRequestUri, "/x");
    assert.equal(other.read([pair!]), undefined);
    assert.equal(
      other.read([`${other.set({ case: undefined }).split("=")[0]}=${pair!.split("=")[1]}`]),
      undefined,
    );
    assert.notEqual(one.set({ case: "authenticating", value }).split(";")[0], pair);
  });

  it("reads nothing in whatever else is there", () => {
    const cookie = new SessionCookie(Buffer.alloc(32));
    const [name] = cookie.set({ case: undefined }).split("=");
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.uint8Array({ maxLength: 100 }), (text, bytes) => {
        assert.equal(cookie.read([text]), undefined);
        assert.equal(cookie.read([`${name}=${text}`]), undefined);
        assert.equal(cookie.read([`${name}=${Buffer.from(bytes).toString("base64url")}`]), undefined);
      }),
    );
  });
});
