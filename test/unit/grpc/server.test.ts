import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer as createTcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { createServer as createTlsServer } from "node:tls";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { type Server, status as Status } from "@grpc/grpc-js";
import { createClient } from "../../../src/grpc/client.ts";
import { type GrpcEndpoint, openChannel } from "../../../src/grpc/endpoint.ts";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import {
  addStandardServices,
  createServer,
  type GrpcServerSettings,
  listen,
} from "../../../src/grpc/server.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as ServingStatus,
} from "../../../src/proto/gen/grpc/health/v1/health_pb.ts";
import {
  ServerReflection,
  type ServerReflectionRequest,
} from "../../../src/proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionAlpha } from "../../../src/proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { freePort } from "./free-port.ts";

const folder = mkdtempSync(join(tmpdir(), "grpc-server-"));
after(() => rmSync(folder, { recursive: true }));
const certificates = join(import.meta.dirname, "certificates");
const pem = (name: string): string => readFileSync(join(certificates, `${name}.pem`), "utf8");

async function serve(changes: Partial<GrpcServerSettings> = {}) {
  const port = await freePort();
  const settings: GrpcServerSettings = {
    listenAddresses: [`127.0.0.1:${port}`],
    listenPaths: [],
    maximumReceivedMessageSizeBytes: undefined,
    initialWindowSizeBytes: undefined,
    tls: undefined,
    keepalive: {
      maximumConnectionIdle: undefined,
      maximumConnectionAge: undefined,
      maximumConnectionAgeGrace: undefined,
      time: undefined,
      timeout: undefined,
    },
    clientCertificateAuthorities: undefined,
    healthCheckService: "runner",
    stopGracefully: false,
    tracing: {},
    ...changes,
  };
  const server: Server = createServer(settings);
  addService(server, Runner, { checkReadiness: unary(() => ({})) });
  addStandardServices(server, settings, [Runner], ["buildbarn.runner.Runner", "relayed.Service"]);
  await listen(server, settings);
  return { port, [Symbol.dispose]: () => server.forceShutdown() };
}

function channelTo(port: number, changes: Partial<GrpcEndpoint> = {}) {
  const channel = openChannel({ address: `127.0.0.1:${port}`, ...changes });
  return { channel, [Symbol.dispose]: () => channel.close() };
}

async function check(port: number, changes: Partial<GrpcEndpoint> = {}): Promise<void> {
  using open = channelTo(port, changes);
  await createClient(Runner, open.channel).checkReadiness({ path: "" });
}

describe("a gRPC server", () => {
  it("reports that it is up, as a whole and by the name that is configured", async () => {
    using server = await serve();
    using open = channelTo(server.port);
    const health = createClient(Health, open.channel);
    for (const service of ["", "runner"]) {
      assert.equal((await health.check({ service })).status, ServingStatus.SERVING);
    }
    await assert.rejects(health.check({ service: "other" }), { code: Status.NOT_FOUND });
    for (const [service, status] of [
      ["", ServingStatus.SERVING],
      ["other", ServingStatus.SERVICE_UNKNOWN],
    ] as const) {
      for await (const response of health.watch({ service })) {
        assert.equal(response.status, status);
        break;
      }
    }
  });

  it("says what it serves, to new tools and to old ones", async () => {
    using server = await serve();
    using open = channelTo(server.port);
    const ask = async (
      service: typeof ServerReflection | typeof ServerReflectionAlpha,
      messageRequest: ServerReflectionRequest["messageRequest"],
    ) => {
      const client = createClient(service as typeof ServerReflection, open.channel);
      for await (const { messageResponse } of client.serverReflectionInfo([{ messageRequest }])) {
        return messageResponse;
      }
      return assert.fail("no answer");
    };
    for (const service of [ServerReflection, ServerReflectionAlpha]) {
      const list = await ask(service, { case: "listServices", value: "" });
      assert.ok(list.case === "listServicesResponse");
      assert.deepEqual(list.value.service.map(({ name }) => name).sort(), [
        "buildbarn.runner.Runner",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
        "relayed.Service",
      ]);
      const found = await ask(service, {
        case: "fileContainingSymbol",
        value: "buildbarn.runner.Runner.Run",
      });
      assert.ok(found.case === "fileDescriptorResponse");
      const files = found.value.fileDescriptorProto.map((bytes) =>
        fromBinary(FileDescriptorProtoSchema, bytes),
      );
      assert.deepEqual(
        files[0]?.service.map(({ name }) => name),
        ["Runner"],
      );
      const names = files.map(({ name }) => name);
      assert.ok(files.flatMap(({ dependency }) => dependency).every((name) => names.includes(name)));
      const missing = await ask(service, { case: "fileContainingSymbol", value: "no.such.Thing" });
      assert.ok(missing.case === "errorResponse" && missing.value.errorCode === Status.NOT_FOUND);
    }
  });

  it("shows a renewed certificate without a restart", async () => {
    const [certificatePath, privateKeyPath] = [join(folder, "certificate"), join(folder, "key")];
    const install = (name: string) => {
      copyFileSync(join(certificates, `${name}.pem`), certificatePath);
      copyFileSync(join(certificates, `${name}.key.pem`), privateKeyPath);
    };
    install("first");
    using server = await serve({
      tls: { keyPair: { certificatePath, privateKeyPath, refreshMilliseconds: 5 } },
    });
    const trusting = (name: string) => ({
      tls: { serverCertificateAuthorities: pem(name), serverName: "localhost" },
    });
    const eventually = async (name: string) => {
      for (;;) {
        try {
          return await check(server.port, trusting(name));
        } catch (error) {
          assert.equal((error as { code?: number }).code, Status.UNAVAILABLE);
        }
      }
    };
    await check(server.port, trusting("first"));
    await assert.rejects(check(server.port, trusting("second")), { code: Status.UNAVAILABLE });
    copyFileSync(join(certificates, "second.pem"), certificatePath);
    // Long enough for half of the new pair to be read, which must not end the service.
    await sleep(50);
    await check(server.port, trusting("first"));
    install("second");
    await eventually("second");
  });

  it("speaks the configured ciphers only", async () => {
    const keyPair = { certificate: pem("first"), privateKey: pem("first.key") };
    using server = await serve({ tls: { keyPair, cipherSuites: ["TLS_AES_256_GCM_SHA384"] } });
    const speaking = (...cipherSuites: string[]) => ({
      tls: { serverCertificateAuthorities: pem("first"), serverName: "localhost", cipherSuites },
    });
    await check(server.port, speaking("TLS_AES_256_GCM_SHA384"));
    await assert.rejects(check(server.port, speaking("TLS_AES_128_GCM_SHA256")), {
      code: Status.UNAVAILABLE,
    });
  });

  it("sees the renewed certificate of a client without a restart", async () => {
    const [certificatePath, privateKeyPath] = [join(folder, "client"), join(folder, "client.key")];
    const seen: string[] = [];
    const gate = createTlsServer(
      {
        cert: pem("first"),
        key: pem("first.key"),
        requestCert: true,
        rejectUnauthorized: false,
        ALPNProtocols: ["h2"],
      },
      (socket) => {
        seen.push(socket.getPeerX509Certificate()?.fingerprint256 ?? "none");
        socket.destroy();
      },
    );
    await new Promise<void>((resolve) => gate.listen(0, "127.0.0.1", resolve));
    const { port } = gate.address() as { port: number };
    const clientKeyPair = { certificatePath, privateKeyPath, refreshMilliseconds: 0 };
    using open = channelTo(port, {
      tls: { serverCertificateAuthorities: pem("first"), serverName: "localhost", clientKeyPair },
    });
    const client = createClient(Runner, open.channel);
    for (const name of ["first", "second"]) {
      copyFileSync(join(certificates, `${name}.pem`), certificatePath);
      copyFileSync(join(certificates, `${name}.key.pem`), privateKeyPath);
      const { fingerprint256 } = new X509Certificate(pem(name));
      while (!seen.includes(fingerprint256)) {
        await assert.rejects(client.checkReadiness({ path: "" }), { code: Status.UNAVAILABLE });
      }
    }
    gate.close();
  });
});

describe("a channel", () => {
  it("goes through a proxy", async () => {
    using server = await serve();
    const asked: string[] = [];
    const proxy = createTcpServer((socket) => {
      socket.once("data", (data) => {
        asked.push(data.toString("latin1"));
        const upstream = connect(server.port, "127.0.0.1", () => {
          socket.write("HTTP/1.1 200 OK\r\n\r\n");
          socket.pipe(upstream).pipe(socket);
        });
        upstream.on("error", () => socket.destroy());
        socket.on("error", () => upstream.destroy());
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
    const { port } = proxy.address() as { port: number };
    await check(1, {
      address: "dns:storage.example.com:8981",
      proxy: { address: `127.0.0.1:${port}`, credentials: "user:secret" },
    });
    proxy.close();
    const [request = ""] = asked;
    assert.match(request, /^CONNECT storage\.example\.com:8981 HTTP/);
    assert.match(request, new RegExp(`proxy-authorization: basic ${btoa("user:secret")}`, "i"));
  });

  it("repeats calls as its service config says", async () => {
    using server = await serve();
    await check(server.port, {
      serviceConfig: JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }], methodConfig: [] }),
    });
  });
});
