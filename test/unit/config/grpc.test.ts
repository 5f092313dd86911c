import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { FieldPath } from "../../../src/config/field-path.ts";
import { grpcEndpoint } from "../../../src/config/network/grpc-client.ts";
import { grpcServerSettings } from "../../../src/config/network/grpc-server.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { openChannel } from "../../../src/grpc/endpoint.ts";
import { addService } from "../../../src/grpc/handlers.ts";
import { createServer, listen } from "../../../src/grpc/server.ts";
import {
  ClientConfigurationSchema,
  ServerConfigurationSchema,
} from "../../../src/proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";

const pem = (name: string) =>
  readFileSync(join(import.meta.dirname, `../grpc/certificates/${name}.pem`), "utf8");

const endpoint = (json: JsonValue) =>
  FieldPath.root("scheduler").settingsOf((path) =>
    grpcEndpoint(fromJson(ClientConfigurationSchema, json), path),
  );
const server = (json: JsonValue) =>
  FieldPath.root("grpcServers[0]").settingsOf((path) =>
    grpcServerSettings(fromJson(ServerConfigurationSchema, json), path),
  );

describe("grpcEndpoint", () => {
  it("takes over address, TLS, keepalive and headers", () => {
    assert.deepEqual(
      endpoint({
        address: "host:8983",
        tls: {
          serverCertificateAuthorities: "PEM",
          clientKeyPair: { inline: { certificate: "C", privateKey: "K" } },
        },
        keepalive: { time: "60s", timeout: "0.5s" },
        addMetadata: [{ header: "a", values: ["1", "2"] }],
      }),
      {
        address: "host:8983",
        tls: {
          serverCertificateAuthorities: "PEM",
          clientKeyPair: { certificate: "C", privateKey: "K" },
        },
        keepalive: { timeMilliseconds: 60_000, timeoutMilliseconds: 500, permitWithoutStream: false },
        metadata: [
          ["a", "1"],
          ["a", "2"],
        ],
      },
    );
  });

  it("takes over an expression, where tokens come from, and Go's names of cipher suites", () => {
    const made = endpoint({
      address: "a:1",
      tls: { cipherSuites: ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"] },
      oauth2: {
        scopes: ["s"],
        clientCredentials: { clientId: "i", clientSecret: "c", tokenEndpointUrl: "https://t/" },
      },
      addMetadataJmespathExpression: {
        expression: "{a: [files.f]}",
        files: [{ key: "f", path: import.meta.filename }],
        testVectors: [{ input: { files: { f: "x" } }, expectedOutput: { a: ["x"] } }],
      },
    });
    assert.deepEqual(made.tls?.cipherSuites, [
      "TLS_AES_128_GCM_SHA256",
      "TLS_AES_256_GCM_SHA384",
      "TLS_CHACHA20_POLY1305_SHA256",
      "ECDHE-RSA-AES128-GCM-SHA256",
    ]);
    assert.deepEqual(made.oauth2, {
      clientId: "i",
      clientSecret: "c",
      tokenEndpointUrl: "https://t/",
      httpClient: { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined },
      scopes: ["s"],
    });
    assert.deepEqual(made.metadataExpression, {
      expression: "{a: [files.f]}",
      files: [{ key: "f", path: import.meta.filename }],
    });
  });

  it("refuses an expression that cannot be had, or does not do what its test vectors say", () => {
    const expressed = (expression: JsonValue) => () =>
      endpoint({ address: "a:1", addMetadataJmespathExpression: expression });
    const at = "scheduler\\.addMetadataJmespathExpression";
    assert.throws(
      expressed({ expression: "a[" }),
      new RegExp(`${at}\\.expression: unexpected end at offset 2`),
    );
    assert.throws(
      expressed({ expression: "a", files: [{ key: "f", path: "/no/such" }] }),
      new RegExp(`${at}\\.files\\[0\\]\\.path: ENOENT`),
    );
    const vector = (input: JsonValue, expectedOutput: JsonValue, expression = "a") =>
      expressed({ expression, testVectors: [{ input, expectedOutput }] });
    assert.doesNotThrow(vector({ a: [1, "x", null] }, [1, "x", null]));
    assert.doesNotThrow(vector({}, null));
    assert.throws(
      vector({ a: 1 }, 2),
      new RegExp(`${at}\\.testVectors\\[0\\]\\.expectedOutput: the expression makes 1 of the input, not 2`),
    );
    assert.throws(vector({}, 1, "length(a)"), /makes an error \(length: argument 1/);
    assert.throws(vector({ files: { f: "x" } }, null), /testVectors\[0\]\.input: give "files" .* \(none\)/);
    assert.throws(
      expressed({
        expression: "a",
        files: [{ key: "f", path: import.meta.filename }],
        testVectors: [{ input: { files: { g: "x" } }, expectedOutput: null }],
      }),
      /testVectors\[0\]\.input: give "files" .* \(f\)/,
    );
  });

  it("refuses what it cannot do, by name", () => {
    assert.throws(
      () => grpcEndpoint(undefined, FieldPath.root("scheduler")),
      /scheduler\.address is missing/,
    );
    assert.throws(
      () => endpoint({ address: "a:1", proxyUrl: "socks5://p" }),
      /scheduler\.proxyUrl is "socks5:\/\/p": give "http:/,
    );
    assert.throws(() => endpoint({ address: "a:1", oauth2: {} }), /scheduler\.tls is missing: tokens/);
    assert.throws(
      () => endpoint({ address: "a:1", tls: {}, oauth2: { googleDefaultCredentials: {} } }),
      /scheduler\.oauth2\.googleDefaultCredentials is not supported: .* give clientCredentials/,
    );
    assert.throws(
      () => endpoint({ address: "a:1", defaultServiceConfig: { methodConfig: [{}] } }),
      /scheduler\.defaultServiceConfig: /,
    );
    assert.throws(
      () => endpoint({ address: "a:1", tls: { clientKeyPair: { files: { certificatePath: "/no/such" } } } }),
      /clientKeyPair\.files\.certificatePath: ENOENT[\s\S]*files\.refreshInterval is missing/,
    );
    assert.throws(
      () => endpoint({ address: "a:1", keepalive: { time: "60s" } }),
      /scheduler\.keepalive\.timeout is missing/,
    );
    assert.throws(
      () => endpoint({ address: "a:1", tls: { cipherSuites: ["X"] } }),
      /scheduler\.tls\.cipherSuites\[0\] is "X": give one of TLS_/,
    );
  });
});

describe("grpcServerSettings", () => {
  it("requires an address and an authentication policy", () => {
    const listenPaths = ["/x"];
    assert.throws(() => server({}), /grpcServers\[0\]: give listen/);
    assert.throws(() => server({ listenPaths }), /authenticationPolicy is missing: give \{"allow"/);
    assert.throws(() => server({ listenPaths, authenticationPolicy: {} }), /authenticationPolicy is missing/);
  });

  it("takes over what services of others it relays", () => {
    const relayed = (...relays: JsonObject[]) =>
      server({ listenPaths: ["/x"], authenticationPolicy: { allow: {} }, relays }).relays;
    const [one, other] = ["a:1", "b:1"].map((address) => ({
      endpoint: { address },
      services: [`x.${address[0]}`],
    }));
    assert.deepEqual(relayed(one!, other!), [one, other]);
    assert.throws(() => relayed(one!, one!), /relays\[1\]\.services\[0\] is "x\.a": give the full name/);
    assert.throws(() => relayed({ services: ["x.a"] }), /relays\[0\]\.endpoint\.address is missing/);
    assert.throws(() => relayed({ ...one, services: [""] }), /relays\[0\]\.services\[0\] is ""/);
  });

  it("takes over whom to ask about callers", () => {
    const remote = {
      endpoint: { address: "auth:1" },
      headers: ["Authorization", "x-user"],
      scope: { server: "runner" },
      maximumCacheSize: 10,
      cacheReplacementPolicy: "LEAST_RECENTLY_USED",
    };
    const policy = (changes: JsonObject) =>
      server({ listenPaths: ["/x"], authenticationPolicy: { remote: { ...remote, ...changes } } })
        .authentication;
    assert.deepEqual(policy({}), {
      kind: "remote",
      endpoint: { address: "auth:1" },
      headers: ["Authorization", "x-user"],
      scope: { server: "runner" },
      maximumCacheSize: 10,
    });
    assert.throws(() => policy({ endpoint: null }), /remote\.endpoint\.address is missing/);
    assert.throws(() => policy({ headers: ["a b"] }), /remote\.headers\[0\] is "a b": give a header's name/);
    assert.throws(() => policy({ maximumCacheSize: -1 }), /remote\.maximumCacheSize is -1: give 0 or more/);
  });

  it("takes over policies, and whose certificates a handshake asks for", () => {
    const authorities = pem("first");
    const tls = {
      tls: { serverKeyPair: { inline: { certificate: "C", privateKey: "K" } } },
      listenPaths: ["/x"],
    };
    const certificate = (clientCertificateAuthorities: string) => ({
      tlsClientCertificate: {
        clientCertificateAuthorities,
        validationJmespathExpression: { expression: "`true`" },
        metadataExtractionJmespathExpression: { expression: "`{}`" },
      },
    });
    const { authentication, clientCertificateAuthorities } = server({
      ...tls,
      authenticationPolicy: {
        any: {
          policies: [
            { deny: "no" },
            { all: { policies: [certificate(authorities)] } },
            { allow: { public: 1 } },
          ],
        },
      },
    });
    assert.equal(clientCertificateAuthorities, authorities);
    assert.deepEqual(authentication, {
      kind: "any",
      policies: [
        { kind: "deny", message: "no" },
        {
          kind: "all",
          policies: [
            {
              kind: "clientCertificate",
              authorities,
              validation: { expression: "`true`", files: [] },
              metadataExtraction: { expression: "`{}`", files: [] },
            },
          ],
        },
        { kind: "allow", metadata: { public: 1 } },
      ],
    });
    assert.throws(
      () => server({ ...tls, authenticationPolicy: certificate("no PEM") }),
      /tlsClientCertificate\.clientCertificateAuthorities has no certificate: give PEM/,
    );
    const policies = [certificate(authorities), certificate(pem("second"))];
    assert.throws(
      () => server({ ...tls, authenticationPolicy: { any: { policies } } }),
      /authenticationPolicy is not supported: .* different clientCertificateAuthorities; give all of them the same/,
    );
    assert.throws(
      () =>
        server({
          ...tls,
          authenticationPolicy: { peerCredentialsJmespathExpression: { expression: "`{}`" } },
        }),
      /authenticationPolicy: peerCredentialsJmespathExpression and tls cannot be had together/,
    );
  });

  it("takes over where keys of tokens are, if they can be used", () => {
    const jwt = (jwks: JsonObject) => () =>
      server({
        listenPaths: ["/x"],
        authenticationPolicy: {
          jwt: {
            ...jwks,
            maximumCacheSize: 10,
            cacheReplacementPolicy: "LEAST_RECENTLY_USED",
            claimsValidationJmespathExpression: { expression: "a" },
            metadataExtractionJmespathExpression: { expression: "b" },
          },
        },
      }).authentication;
    assert.deepEqual(jwt({ jwksInline: { keys: [] } })(), {
      kind: "jwt",
      keys: { set: { keys: [] } },
      maximumCacheSize: 10,
      claimsValidation: { expression: "a", files: [] },
      metadataExtraction: { expression: "b", files: [] },
    });
    assert.throws(jwt({}), /jwt\.jwksFile is missing: give it, or jwksInline/);
    assert.throws(jwt({ jwksInline: { keys: [{}] } }), /jwt\.jwksInline: key 0 cannot be used/);
    assert.throws(jwt({ jwksFile: "/no/such" }), /jwt\.jwksFile: ENOENT/);
    assert.throws(jwt({ jwksFile: import.meta.filename }), /jwt\.jwksFile: .*JSON/);
  });

  it("is what a server listens by, on a UNIX socket in place of one that was left behind", async () => {
    const folder = mkdtempSync(join(tmpdir(), "grpc-server-"));
    const settings = server({
      listenPaths: [join(folder, "socket")],
      authenticationPolicy: { allow: {} },
    });
    for (let run = 0; run < 2; run++) {
      const server = createServer(settings);
      addService(server, Runner, { checkReadiness: (_call, callback) => callback(null, {}) });
      await listen(server, settings);
      const channel = openChannel({ address: `unix://${folder}/socket` });
      await createClient(Runner, channel).checkReadiness({ path: "" });
      channel.close();
      server.forceShutdown();
    }
    rmSync(folder, { recursive: true });
  });

  it("leads to an error that names an address that cannot be had", async () => {
    const settings = server({
      listenPaths: ["/no/such/folder/socket"],
      authenticationPolicy: { allow: {} },
    });
    const unbound = createServer(settings);
    await assert.rejects(listen(unbound, settings), /^Error: cannot listen on unix:/);
    unbound.forceShutdown();
  });
});
