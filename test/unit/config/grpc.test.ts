import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { fromJson, type JsonValue } from "@bufbuild/protobuf";
import { grpcEndpoint } from "../../../src/config/grpc-client.ts";
import { createServer, listen } from "../../../src/config/grpc-server.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { openChannel } from "../../../src/grpc/endpoint.ts";
import { addService } from "../../../src/grpc/handlers.ts";
import {
  ClientConfigurationSchema,
  ServerConfigurationSchema,
} from "../../../src/proto/gen/buildbarn/configuration/grpc/grpc_pb.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";

const endpoint = (json: JsonValue) => grpcEndpoint(fromJson(ClientConfigurationSchema, json), "scheduler");
const serverConfiguration = (json: JsonValue) => fromJson(ServerConfigurationSchema, json);

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
        tls: { serverCertificateAuthorities: "PEM", certificate: "C", privateKey: "K" },
        keepalive: { timeMilliseconds: 60_000, timeoutMilliseconds: 500, permitWithoutStream: false },
        metadata: [
          ["a", "1"],
          ["a", "2"],
        ],
      },
    );
  });

  it("refuses what it cannot do, by name", () => {
    assert.throws(() => grpcEndpoint(undefined, "scheduler"), /scheduler\.address is missing/);
    assert.throws(
      () => endpoint({ address: "a:1", proxyUrl: "http://p" }),
      /scheduler\.proxyUrl is not supported/,
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

describe("createServer", () => {
  it("requires an address and an authentication policy", () => {
    assert.throws(
      () => createServer(serverConfiguration({}), "grpcServers[0]"),
      /grpcServers\[0\]: give listen/,
    );
    assert.throws(
      () => createServer(serverConfiguration({ listenPaths: ["/x"] }), "grpcServers[0]"),
      /authenticationPolicy/,
    );
    assert.throws(
      () =>
        createServer(
          serverConfiguration({ listenPaths: ["/x"], authenticationPolicy: { deny: "no" } }),
          "grpcServers[0]",
        ),
      /authenticationPolicy/,
    );
  });

  it("serves on a UNIX socket, replacing one that was left behind", async () => {
    const folder = mkdtempSync(join(tmpdir(), "grpc-server-"));
    const configuration = serverConfiguration({
      listenPaths: [join(folder, "socket")],
      authenticationPolicy: { allow: {} },
    });
    for (let run = 0; run < 2; run++) {
      const server = createServer(configuration, "grpcServers[0]");
      addService(server, Runner, { checkReadiness: (_call, callback) => callback(null, {}) });
      await listen(server, configuration, "grpcServers[0]");
      const channel = openChannel({ address: `unix://${folder}/socket` });
      await createClient(Runner, channel).checkReadiness({ path: "" });
      channel.close();
      server.forceShutdown();
    }
    rmSync(folder, { recursive: true });
  });

  it("names an address that it cannot have", async () => {
    const configuration = serverConfiguration({
      listenPaths: ["/no/such/folder/socket"],
      authenticationPolicy: { allow: {} },
    });
    const server = createServer(configuration, "grpcServers[0]");
    await assert.rejects(
      listen(server, configuration, "grpcServers[0]"),
      /grpcServers\[0\]: cannot listen on unix:/,
    );
    server.forceShutdown();
  });
});
