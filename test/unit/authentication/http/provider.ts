import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

const CREDENTIALS = `Basic ${Buffer.from("me:secret").toString("base64")}`;

/** A provider of OpenID Connect on loopback, which knows one client, "me" with the secret "secret". */
export class Provider implements AsyncDisposable {
  readonly #server = createServer((request, response) => {
    this.#serve(request, response).catch((error: Error) => response.writeHead(500).end(error.message));
  });
  /** Where a code was given for, by code. */
  readonly #codes = new Map<string, URLSearchParams>();
  #refreshToken = "";
  /** Of the user. */
  claims: unknown = { email: "kermit@example.com" };
  /** Instead of claims. */
  userInfoStatus = 200;
  /** What tokens come with, beside what is needed. */
  more: Record<string, unknown> = {};
  /** Whether it gives refresh tokens. */
  refreshes = true;
  /** What it was asked for. */
  readonly grants: string[] = [];
  /** Requests that it does not answer, where it is to hang. */
  hanging: PromiseWithResolvers<IncomingMessage> | undefined;
  url = "";

  static async start(): Promise<Provider> {
    const provider = new Provider();
    provider.#server.listen(0, "127.0.0.1");
    await once(provider.#server, "listening");
    provider.url = `http://127.0.0.1:${(provider.#server.address() as AddressInfo).port}`;
    return provider;
  }

  /** The user logs in at the location to which a server sent it: to where it is sent then. */
  logIn(location: string): string {
    const { origin, pathname, searchParams } = new URL(location);
    assert.deepEqual([origin + pathname, searchParams.get("x")], [`${this.url}/authorize`, "1"]);
    assert.deepEqual(
      ["response_type", "client_id", "scope", "code_challenge_method"].map((name) => searchParams.get(name)),
      ["code", "me", "openid email", "S256"],
    );
    const code = randomUUID();
    this.#codes.set(code, searchParams);
    const back = new URL(searchParams.get("redirect_uri") ?? "");
    back.searchParams.set("code", code);
    back.searchParams.set("state", searchParams.get("state") ?? "");
    return back.href;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.hanging !== undefined) {
      this.hanging.resolve(request);
      return;
    }
    if (request.url === "/userinfo") {
      assert.equal(request.headers.authorization, "Bearer access");
      response.writeHead(this.userInfoStatus).end(JSON.stringify(this.claims));
      return;
    }
    const form = new URLSearchParams(await bodyOf(request));
    this.grants.push(form.get("grant_type") ?? "");
    if (!this.#accepts(form) || request.headers.authorization !== CREDENTIALS) {
      response.writeHead(400, { "content-type": "application/json" }).end('{"error":"invalid_grant"}');
      return;
    }
    this.#refreshToken = this.refreshes ? randomUUID() : "";
    response.writeHead(200, { "content-type": "application/json" }).end(
      JSON.stringify({
        access_token: "access",
        token_type: "bearer",
        refresh_token: this.#refreshToken,
        ...this.more,
      }),
    );
  }

  /** A code, or a refresh token, is good for once. */
  #accepts(form: URLSearchParams): boolean {
    if (form.get("grant_type") === "refresh_token") {
      return this.#refreshToken !== "" && form.get("refresh_token") === this.#refreshToken;
    }
    const code = form.get("code") ?? "";
    const given = this.#codes.get(code);
    this.#codes.delete(code);
    const challenge = createHash("sha256")
      .update(form.get("code_verifier") ?? "")
      .digest("base64url");
    return (
      given?.get("code_challenge") === challenge && given.get("redirect_uri") === form.get("redirect_uri")
    );
  }
}

async function bodyOf(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request as AsyncIterable<Buffer>) {
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}
