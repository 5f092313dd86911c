import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Metadata, Server, ServerCredentials, status as Status } from "@grpc/grpc-js";
import { CallHeaders, type CallHeadersOptions } from "../../../src/grpc/call-headers.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { openChannel } from "../../../src/grpc/endpoint.ts";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import type { IncomingCall } from "../../../src/grpc/incoming-call.ts";
import { JmespathExpression } from "../../../src/jmespath/expression.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";

const folder = mkdtempSync(join(tmpdir(), "call-headers-"));
after(() => rmSync(folder, { recursive: true }));
const tokenFile = join(folder, "token");

const expressed = (expression: string): CallHeadersOptions => ({
  metadataExpression: { expression, files: [] },
});

function incoming(headers: Record<string, string>, authentication = {}): IncomingCall {
  return { metadata: Metadata.fromHttp2Headers(headers), authentication };
}

async function headersOf(options: CallHeadersOptions, call?: IncomingCall): Promise<Record<string, unknown>> {
  using headers = new CallHeaders(options);
  return (await headers.of(undefined, call)).getMap();
}

describe("CallHeaders", () => {
  it("makes headers of an expression", async () => {
    const expression = "{A: ['1', '2'], \"b-bin\": ['\u00e9'], none: missing, empty: `[]`}";
    using headers = new CallHeaders({ ...expressed(expression), metadata: [["a", "0"]] });
    const metadata = await headers.of(undefined, undefined);
    assert.deepEqual(metadata.get("a"), ["0", "1", "2"]);
    assert.deepEqual(metadata.get("b-bin"), [Buffer.from("\u00e9")]);
    assert.deepEqual(Object.keys(metadata.getMap()), ["a", "b-bin"]);
  });

  it("lets it see the call that is being served, and who made that", async () => {
    const call = incoming({ authorization: "Bearer t" }, { public: { user: "me" } });
    const expression =
      "{token: incomingGRPCMetadata.authorization, user: [authenticationMetadata.public.user]}";
    assert.deepEqual(await headersOf(expressed(expression), call), { token: "Bearer t", user: "me" });
    const outside = "{a: [to_string(authenticationMetadata)], b: [to_string(incomingGRPCMetadata)]}";
    assert.deepEqual(await headersOf(expressed(outside)), { a: "{}", b: "null" });
  });

  it("fails as Buildbarn does where the expression makes no headers", async () => {
    for (const [expression, code, details] of [
      ["missing", Status.NOT_FOUND, "No match evaluating JMESPath"],
      ["length(missing)", Status.UNKNOWN, /Failed to evaluate JMESPath: length: argument 1/],
      [
        "'a'",
        Status.INVALID_ARGUMENT,
        /Failed to extract JMESPath result: Didn't evaluate to map\[string\]\[\]string/,
      ],
      ["{a: 'b'}", Status.INVALID_ARGUMENT, /Failed to extract JMESPath result: Non-slice metadata value/],
      ["{a: [`1`]}", Status.INVALID_ARGUMENT, /Failed to extract JMESPath result: Non-string metadata value/],
      ["{a: ['x\ny']}", Status.INTERNAL, /"a" cannot be sent/],
      ["{\"a b\": ['x']}", Status.INTERNAL, /"a b" cannot be sent/],
    ] as const) {
      await assert.rejects(headersOf(expressed(expression)), (error: { code: number; details: string }) => {
        assert.equal(error.code, code, expression);
        assert.ok(
          typeof details === "string" ? error.details.endsWith(details) : details.test(error.details),
        );
        return true;
      });
    }
  });

  it("forwards headers, and has those of the last call that was answered where there are none", async () => {
    using headers = new CallHeaders({ forwardedHeaders: ["authorization"] });
    const of = async (call?: IncomingCall) => (await headers.of(undefined, call)).get("authorization");
    assert.deepEqual(await of(), []);
    const call = incoming({ authorization: "1", other: "x" });
    assert.deepEqual(await of(call), ["1"]);
    assert.deepEqual(await of(), []);
    headers.succeeded(call);
    headers.succeeded(incoming({ other: "y" }));
    headers.succeeded(undefined);
    assert.deepEqual(await of(), ["1"]);
    assert.deepEqual(await of(incoming({})), ["1"]);
    assert.deepEqual(await of(incoming({ authorization: "2" })), ["2"]);
  });
});

describe("JmespathExpression", () => {
  it("has the files' contents, as they were when last read", async () => {
    writeFileSync(tokenFile, "one");
    using expression = new JmespathExpression({
      expression: "[files.token, other]",
      files: [{ key: "token", path: tokenFile }],
    });
    assert.deepEqual(expression.search({ other: 1 }), ["one", 1]);
    writeFileSync(tokenFile, "two");
    assert.deepEqual(expression.search({}), ["one", null]);
    await expression.refresh();
    assert.deepEqual(expression.search({}), ["two", null]);
    rmSync(tokenFile);
    await expression.refresh();
    assert.deepEqual(expression.search({}), ["two", null]);
  });
});

describe("a client", () => {
  const server = new Server();
  let address = "";
  const seen: unknown[] = [];

  before(async () => {
    addService(server, Runner, {
      checkReadiness: unary((_request, { metadata }) => {
        seen.push(metadata.get("a"));
        return {};
      }),
    });
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error ? reject(error) : resolve(bound),
      ),
    );
    address = `127.0.0.1:${port}`;
  });
  after(() => server.forceShutdown());

  it("sends what the channel's expression makes, or fails with its error", async () => {
    const channel = openChannel({ address, ...expressed("incomingGRPCMetadata.{a: user}") });
    const client = createClient(Runner, channel);
    await client.checkReadiness({ path: "" }, { incoming: incoming({ user: "me" }) });
    assert.deepEqual(seen, [["me"]]);
    await assert.rejects(client.checkReadiness({ path: "" }), { code: Status.NOT_FOUND });
    channel.close();
  });

  it("waits for a token no longer than its deadline, or until it is cancelled", async () => {
    const silent = { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined };
    const oauth2 = {
      ...{ clientId: "", clientSecret: "", scopes: [], httpClient: silent },
      tokenEndpointUrl: "http://127.0.0.1:1/",
    };
    const channel = openChannel({ address, oauth2 });
    const client = createClient(Runner, channel);
    const aborted = { signal: AbortSignal.abort() };
    await assert.rejects(client.checkReadiness({ path: "" }, aborted), { code: Status.CANCELLED });
    await assert.rejects(client.checkReadiness({ path: "" }), { code: Status.UNAUTHENTICATED });
    const late = { deadline: Date.now() - 1 };
    await assert.rejects(client.checkReadiness({ path: "" }, late), { code: Status.DEADLINE_EXCEEDED });
    channel.close();
  });
});
