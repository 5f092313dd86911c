import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { type Timestamp, TimestampSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Metadata, ServerCredentials } from "@grpc/grpc-js";
import { createAuthenticator } from "../../../src/authentication/authenticator.ts";
import { authenticating } from "../../../src/authentication/grpc-interceptor.ts";
import { headerText, type Peer } from "../../../src/authentication/peer.ts";
import { RemoteAuthenticator } from "../../../src/authentication/remote.ts";
import type { RemoteSettings } from "../../../src/authentication/settings.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { openChannel } from "../../../src/grpc/endpoint.ts";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import { createServer, type GrpcServerSettings } from "../../../src/grpc/server.ts";
import { failure } from "../../../src/grpc/status.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { Code } from "../../../src/proto/gen/google/rpc/code_pb.ts";
import { AuthenticationService, type Verdict } from "./authentication-service.ts";

const NOW = 1_700_000_000_000;

const peerWith = (
  headers: Record<string, readonly string[]>,
  signal = new AbortController().signal,
): Peer => ({
  header: (name) => headers[name] ?? [],
  tls: undefined,
  unixSocket: undefined,
  signal,
});

const settings = (address: string, more: Partial<RemoteSettings> = {}): RemoteSettings => ({
  endpoint: { address },
  headers: ["Authorization", "x-user"],
  scope: undefined,
  maximumCacheSize: 10,
  ...more,
});

const allow = (name: string, cacheExpirationTime?: Timestamp): Verdict => ({
  verdict: { case: "allow", value: { public: { kind: { case: "stringValue", value: name } } } },
  ...(cacheExpirationTime && { cacheExpirationTime }),
});
const deny = (reason: string, cacheExpirationTime?: Timestamp): Verdict => ({
  verdict: { case: "deny", value: reason },
  ...(cacheExpirationTime && { cacheExpirationTime }),
});

const refused = (message: string | RegExp, code = Code.UNAUTHENTICATED) => ({
  name: "AuthenticationError",
  code,
  message,
});

describe("RemoteAuthenticator", () => {
  it("shows the service the headers it may see, and the scope", async () => {
    using service = await AuthenticationService.start();
    using remote = new RemoteAuthenticator(settings(service.address, { scope: { server: ["runner"] } }));
    const known = remote.authenticate(peerWith({ authorization: ["a", "b"], cookie: ["secret"] }));
    const question = await service.next();
    assert.deepEqual(question.request, {
      requestMetadata: { Authorization: { value: ["a", "b"] } },
      scope: { server: ["runner"] },
    });
    question.answer(allow("kermit"));
    assert.deepEqual(await known, { public: "kermit" });
  });

  it("makes headers of the call that it asks about", async () => {
    using service = await AuthenticationService.start();
    const expression = "{token: incomingGRPCMetadata.authorization}";
    using remote = new RemoteAuthenticator(
      settings(service.address, {
        endpoint: { address: service.address, metadataExpression: { expression, files: [] } },
      }),
    );
    const metadata = new Metadata();
    metadata.set("authorization", "Bearer x");
    const known = remote.authenticate({ ...peerWith({}), metadata });
    const question = await service.next();
    assert.deepEqual(question.metadata.get("token"), ["Bearer x"]);
    question.answer(allow("kermit"));
    await known;
  });

  it("remembers a verdict of either kind until it expires", async () => {
    using service = await AuthenticationService.start();
    let now = NOW;
    using remote = new RemoteAuthenticator(settings(service.address), undefined, () => now);
    const [kermit, robin] = [peerWith({ "x-user": ["kermit"] }), peerWith({ "x-user": ["robin"] })];
    const first = remote.authenticate(kermit);
    (await service.next()).answer(allow("kermit", timestampFromMs(NOW + 1000)));
    await first;
    const second = remote.authenticate(robin);
    (await service.next()).answer(deny("no frogs", timestampFromMs(NOW + 1000)));
    await assert.rejects(second, refused("no frogs"));
    now = NOW + 999;
    assert.deepEqual(await remote.authenticate(kermit), { public: "kermit" });
    await assert.rejects(remote.authenticate(robin), refused("no frogs"));
    assert.equal(service.count, 2);
    now = NOW + 1000;
    const again = remote.authenticate(kermit);
    (await service.next()).answer(allow("kermit II"));
    assert.deepEqual(await again, { public: "kermit II" });
    const once_more = remote.authenticate(kermit);
    (await service.next()).answer(deny("gone"));
    await assert.rejects(once_more, refused("gone"));
  });

  it("remembers no more verdicts than it may, and forgets what was used least recently", async () => {
    using service = await AuthenticationService.start();
    using remote = new RemoteAuthenticator(
      settings(service.address, { maximumCacheSize: 2 }),
      undefined,
      () => NOW,
    );
    const ask = async (user: string, isKnown: boolean) => {
      const known = remote.authenticate(peerWith({ "x-user": [user] }));
      if (!isKnown) {
        (await service.next()).answer(allow(user, timestampFromMs(NOW + 1)));
      }
      await known;
    };
    await ask("a", false);
    await ask("b", false);
    await ask("a", true);
    await ask("c", false);
    await ask("a", true);
    await ask("b", false);
  });

  it("asks once about requests with the same headers at the same time", async () => {
    using service = await AuthenticationService.start();
    using remote = new RemoteAuthenticator(settings(service.address));
    const all = [1, 2, 3].map(() => remote.authenticate(peerWith({ "x-user": ["kermit"] })));
    (await service.next()).answer(allow("kermit"));
    assert.deepEqual(await Promise.all(all), Array(3).fill({ public: "kermit" }));
    assert.equal(service.count, 1);
  });

  it("asks about each request by itself where nothing may be remembered", async () => {
    using service = await AuthenticationService.start();
    using remote = new RemoteAuthenticator(settings(service.address, { maximumCacheSize: 0 }));
    const all = [1, 2].map(() => remote.authenticate(peerWith({})));
    const questions = [await service.next(), await service.next()];
    for (const question of questions) {
      question.answer(allow("kermit", timestampFromMs(Date.now() + 60_000)));
    }
    await Promise.all(all);
    const later = remote.authenticate(peerWith({}));
    (await service.next()).answer(allow("kermit"));
    await later;
  });

  it("asks anew for who waited for a question that failed, whose own request it was not", async () => {
    using service = await AuthenticationService.start();
    using remote = new RemoteAuthenticator(settings(service.address));
    const first = remote.authenticate(peerWith({}));
    const second = remote.authenticate(peerWith({}));
    (await service.next()).fail(failure(Code.UNAVAILABLE, "too busy"));
    await assert.rejects(first, refused("Remote authentication failed: too busy"));
    (await service.next()).answer(allow("kermit"));
    assert.deepEqual(await second, { public: "kermit" });
  });

  it("gives up a question when all requests that it is about are given up, and no earlier", async () => {
    using service = await AuthenticationService.start();
    using remote = new RemoteAuthenticator(settings(service.address));
    const [first, second] = [new AbortController(), new AbortController()];
    const both = [first, second].map(({ signal }) => remote.authenticate(peerWith({}, signal)));
    const question = await service.next();
    const gone = new Error("gone");
    first.abort(gone);
    await assert.rejects(both[0]!, gone);
    assert.equal(question.signal.aborted, false);
    second.abort(gone);
    await assert.rejects(both[1]!, gone);
    if (!question.signal.aborted) {
      await once(question.signal, "abort");
    }
    assert.equal(service.count, 1);
  });

  for (const [what, verdict, message] of [
    ["no verdict", {}, "Invalid authentication verdict"],
    [
      "metadata that is none",
      { verdict: { case: "allow", value: { public: {} } } },
      /^Bad authentication response: /,
    ],
    [
      "a time that is none",
      allow("kermit", create(TimestampSchema, { seconds: 253_402_300_800n })),
      /^Invalid authentication expiration time: 253402300800 seconds/,
    ],
    [
      "parts of a second that are none",
      allow("kermit", create(TimestampSchema, { nanos: -1 })),
      /^Invalid authentication expiration time: /,
    ],
  ] as [string, Verdict, string | RegExp][]) {
    it(`lets in nobody for ${what}`, async () => {
      using service = await AuthenticationService.start();
      using remote = new RemoteAuthenticator(settings(service.address));
      const known = remote.authenticate(peerWith({}));
      (await service.next()).answer(verdict);
      await assert.rejects(known, refused(message));
    });
  }

  it("lets in nobody while the service cannot be reached", async () => {
    const service = await AuthenticationService.start();
    service[Symbol.dispose]();
    using remote = new RemoteAuthenticator(settings(service.address));
    await assert.rejects(remote.authenticate(peerWith({})), refused(/^Remote authentication failed: /));
  });
});

describe("headerText", () => {
  it("is UTF-8, and nothing else", () => {
    assert.equal(headerText("x", Buffer.from("é").toString("latin1")), "é");
    assert.equal(headerText("x-bin", Buffer.from("é")), "é");
    assert.throws(() => headerText("x-bin", Buffer.from([0xff])), refused('The header "x-bin" is not UTF-8'));
  });
});

describe("a gRPC server that asks a remote authenticator", () => {
  const unset = undefined;
  const serverSettings: GrpcServerSettings = {
    listenAddresses: [],
    listenPaths: [],
    maximumReceivedMessageSizeBytes: unset,
    initialWindowSizeBytes: unset,
    tls: unset,
    keepalive: {
      maximumConnectionIdle: unset,
      maximumConnectionAge: unset,
      maximumConnectionAgeGrace: unset,
      time: unset,
      timeout: unset,
    },
    clientCertificateAuthorities: unset,
    healthCheckService: "",
    stopGracefully: false,
    tracing: {},
  };

  async function serve(service: AuthenticationService) {
    const resources = new DisposableStack();
    const authenticate = createAuthenticator(
      { kind: "remote", ...settings(service.address, { headers: ["x-user", "raw-bin"] }) },
      resources,
    );
    const server = createServer(serverSettings, [authenticating(authenticate)]);
    resources.defer(() => server.forceShutdown());
    const known: unknown[] = [];
    addService(server, Runner, {
      checkReadiness: unary((_request, { authentication }) => {
        known.push(authentication);
        return {};
      }),
    });
    const { promise, resolve, reject } = Promise.withResolvers<number>();
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error ? reject(error) : resolve(port),
    );
    const channel = openChannel({ address: `127.0.0.1:${await promise}` });
    resources.defer(() => channel.close());
    const runner = createClient(Runner, channel);
    return {
      known,
      call(headers: Record<string, string | Buffer>, signal?: AbortSignal) {
        const metadata = new Metadata();
        for (const [name, value] of Object.entries(headers)) {
          metadata.set(name, value);
        }
        return runner.checkReadiness({ path: "" }, { metadata, signal });
      },
      [Symbol.dispose]: () => resources.dispose(),
    };
  }

  it("tells the handler what the service knows, or the client why it is not let in", async () => {
    using service = await AuthenticationService.start();
    using server = await serve(service);
    const call = server.call({ "x-user": "kermit" });
    const question = await service.next();
    assert.deepEqual(question.request, { requestMetadata: { "x-user": { value: ["kermit"] } } });
    assert.deepEqual(server.known, []);
    question.answer(allow("kermit"));
    await call;
    assert.deepEqual(server.known, [{ public: "kermit" }]);
    const other = server.call({ "x-user": "robin" });
    (await service.next()).answer(deny("no frogs"));
    await assert.rejects(other, { code: 16, details: "no frogs" });
    assert.equal(server.known.length, 1);
  });

  it("asks nobody about headers that are no text", async () => {
    using service = await AuthenticationService.start();
    using server = await serve(service);
    await assert.rejects(server.call({ "raw-bin": Buffer.from([0xff, 0xfe]) }), {
      code: 16,
      details: 'The header "raw-bin" is not UTF-8',
    });
    assert.equal(service.count, 0);
  });

  it("gives up asking a service that hangs when the client does", async () => {
    using service = await AuthenticationService.start();
    using server = await serve(service);
    const controller = new AbortController();
    const call = server.call({}, controller.signal);
    const question = await service.next();
    controller.abort();
    await assert.rejects(call, { code: 1 });
    if (!question.signal.aborted) {
      await once(question.signal, "abort");
    }
    assert.deepEqual(server.known, []);
  });
});
