import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
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

  it("refuses what it cannot do, by name", () => {
    assert.throws(
      () => grpcEndpoint(undefined, FieldPath.root("scheduler")),
      /scheduler\.address is missing/,
    );
    assert.throws(
      () => endpoint({ address: "a:1", proxyUrl: "socks5://p" }),
      /scheduler\.proxyUrl is "socks5:\/\/p": give "http:/,
    );
    assert.throws(() => endpoint({ address: "a:1", oauth2: {} }), /scheduler\.oauth2 is not supported/);
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
      /scheduler\.tls\.cipherSuites is not supported/,
    );
  });
});

describe("grpcServerSettings", () => {
  it("requires an address and an authentication policy", () => {
    const listenPaths = ["/x"];
    assert.throws(() => server({}), /grpcServers\[0\]: give listen/);
    assert.throws(() => server({ listenPaths }), /authenticationPolicy is missing: give \{"allow"/);
    assert.throws(
      () => server({ listenPaths, authenticationPolicy: { remote: {} } }),
      /authenticationPolicy\.remote is not supported: give \{"allow"/,
    );
  });

  it("combines policies as Buildbarn does", () => {
    const denied = (authenticationPolicy: JsonValue) =>
      server({ listenPaths: ["/x"], authenticationPolicy }).denied;
    const [no, never, allow] = [{ deny: "no" }, { deny: "never" }, { allow: {} }];
    assert.equal(denied(no), "no");
    assert.equal(denied({ any: { policies: [no, allow] } }), undefined);
    assert.equal(denied({ any: { policies: [no, never] } }), "no, never");
    assert.equal(denied({ any: {} }), "no authenticators configured");
    assert.equal(denied({ all: { policies: [allow, { any: { policies: [never] } }] } }), "never");
    assert.equal(denied({ all: { policies: [allow, allow] } }), undefined);
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
