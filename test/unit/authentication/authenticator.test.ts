import assert from "node:assert/strict";
import type { X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import type { TLSSocket } from "node:tls";
import type { JsonObject } from "@bufbuild/protobuf";
import { type Authenticator, createAuthenticator } from "../../../src/authentication/authenticator.ts";
import { ClientCertificateVerifier, namesIn } from "../../../src/authentication/client-certificate.ts";
import { authenticating } from "../../../src/authentication/grpc-interceptor.ts";
import type { Peer } from "../../../src/authentication/peer.ts";
import type { AuthenticationSettings } from "../../../src/authentication/settings.ts";
import { createClient } from "../../../src/grpc/client.ts";
import { type GrpcEndpoint, openChannel } from "../../../src/grpc/endpoint.ts";
import { addService, unary } from "../../../src/grpc/handlers.ts";
import { createServer, type GrpcServerSettings, listen } from "../../../src/grpc/server.ts";
import { Runner } from "../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { freePort } from "../grpc/free-port.ts";

const nobody: Peer = {
  header: () => [],
  tls: undefined,
  unixSocket: undefined,
  signal: new AbortController().signal,
};
const allow = (metadata: JsonObject = {}): AuthenticationSettings => ({ kind: "allow", metadata });
const deny = (message: string): AuthenticationSettings => ({ kind: "deny", message });
const any = (...policies: AuthenticationSettings[]): AuthenticationSettings => ({ kind: "any", policies });
const all = (...policies: AuthenticationSettings[]): AuthenticationSettings => ({ kind: "all", policies });
const expressed = (expression: string) => ({ expression, files: [] });
const pem = (name: string) => readFileSync(join(import.meta.dirname, `certificates/${name}.pem`), "utf8");
const certificates = (validation = "`true`", extraction = "{public: @}"): AuthenticationSettings => ({
  kind: "clientCertificate",
  authorities: pem("authority"),
  validation: expressed(validation),
  metadataExtraction: expressed(extraction),
});
const peerCredentials = (extraction: string): AuthenticationSettings => ({
  kind: "peerCredentials",
  metadataExtraction: expressed(extraction),
});

function authenticator(settings: AuthenticationSettings): Authenticator {
  return createAuthenticator(settings, new DisposableStack());
}

/** What the policy knows of nobody in particular, or why it refuses. */
async function outcome(settings: AuthenticationSettings): Promise<unknown> {
  try {
    return await authenticator(settings)(nobody);
  } catch (error) {
    const { code, message } = error as { code: number; message: string };
    return [code, message];
  }
}

describe("createAuthenticator", () => {
  it("combines policies as Buildbarn does", async () => {
    assert.deepEqual(await outcome(deny("no")), [16, "no"]);
    assert.deepEqual(await outcome(any(deny("no"), allow({ public: 1 }), allow({ public: 2 }))), {
      public: 1,
    });
    assert.deepEqual(await outcome(any(deny("no"), deny("never"), deny("no"))), [16, "no, never"]);
    assert.deepEqual(await outcome(any()), [16, "No authenticators configured"]);
    assert.deepEqual(await outcome(all(allow(), any(deny("never")), deny("no"))), [16, "never"]);
    assert.deepEqual(await outcome(all()), {});
  });

  it("puts together what all of several policies know", async () => {
    const kermit = {
      public: { first: "kermit", middle: "the" },
      private: [1],
      tracingAttributes: [{ key: "a" }],
    };
    const robin = {
      public: { first: "robin", last: "frog" },
      private: [2],
      tracingAttributes: [{ key: "b" }],
    };
    assert.deepEqual(await outcome(all(allow(kermit), allow(robin), allow())), {
      public: { first: "robin", middle: "the", last: "frog" },
      private: [1, 2],
      tracingAttributes: [{ key: "a" }, { key: "b" }],
    });
    assert.deepEqual(await outcome(all(allow(kermit), allow({ public: "x" }))), { ...kermit, public: "x" });
  });

  it("says what a connection lacks", async () => {
    assert.deepEqual(await outcome(certificates()), [16, "Connection was not established using TLS"]);
    assert.deepEqual(await outcome(peerCredentials("`{}`")), [
      16,
      "Connection was not established over a UNIX socket",
    ]);
  });
});

describe("a gRPC server", () => {
  const folder = mkdtempSync(join(tmpdir(), "authenticator-"));
  after(() => rmSync(folder, { recursive: true }));

  /** Serves by TCP and by a UNIX socket; the handler notes what is known of its caller. */
  async function serve(authentication: AuthenticationSettings, isTls = false) {
    const port = await freePort();
    const path = join(folder, `${port}`);
    const settings: GrpcServerSettings = {
      listenAddresses: [`127.0.0.1:${port}`],
      listenPaths: [path],
      maximumReceivedMessageSizeBytes: undefined,
      initialWindowSizeBytes: undefined,
      tracing: {},
      tls: isTls ? { keyPair: { certificate: pem("server"), privateKey: pem("server.key") } } : undefined,
      keepalive: {
        maximumConnectionIdle: undefined,
        maximumConnectionAge: undefined,
        maximumConnectionAgeGrace: undefined,
        time: undefined,
        timeout: undefined,
      },
      clientCertificateAuthorities: isTls ? pem("authority") : undefined,
      healthCheckService: "",
      stopGracefully: false,
    };
    const known: unknown[] = [];
    const server = createServer(settings, [authenticating(authenticator(authentication))]);
    addService(server, Runner, {
      checkReadiness: unary((_request, { authentication }) => {
        known.push(authentication);
        return {};
      }),
    });
    await listen(server, settings);
    return {
      known,
      tcp: `127.0.0.1:${port}`,
      unix: `unix://${path}`,
      [Symbol.dispose]: () => server.forceShutdown(),
    };
  }

  async function call(endpoint: GrpcEndpoint): Promise<void> {
    const channel = openChannel(endpoint);
    try {
      await createClient(Runner, channel).checkReadiness({ path: "" });
    } finally {
      channel.close();
    }
  }

  const showing = (name?: string): Pick<GrpcEndpoint, "tls"> => ({
    tls: {
      serverCertificateAuthorities: pem("authority"),
      serverName: "localhost",
      ...(name && { clientKeyPair: { certificate: pem(name), privateKey: pem(`${name}.key`) } }),
    },
  });
  const unauthenticated = (details: string | RegExp) => ({ code: 16, details });

  it("calls no handler for whom the policy refuses", async () => {
    using server = await serve(deny("closed for today"));
    await assert.rejects(call({ address: server.tcp }), unauthenticated("closed for today"));
    assert.deepEqual(server.known, []);
  });

  it("tells the handler what the policy knows", async () => {
    using server = await serve(allow({ public: "me" }));
    await call({ address: server.tcp });
    assert.deepEqual(server.known, [{ public: "me" }]);
  });

  it("knows the user at the other end of a UNIX socket, and of no other", async () => {
    const [user, group] = [process.getuid!(), process.getgid!()];
    using server = await serve(peerCredentials("{public: @, private: uid == `0`}"));
    await call({ address: server.unix });
    assert.deepEqual(server.known, [{ public: { uid: user, groups: [group] }, private: false }]);
    await assert.rejects(
      call({ address: server.tcp }),
      unauthenticated("Connection was not established over a UNIX socket"),
    );
    using failing = await serve(peerCredentials("length(uid)"));
    await assert.rejects(
      call({ address: failing.unix }),
      unauthenticated(/^Cannot extract metadata from peer credentials: length: /),
    );
    using wrong = await serve(peerCredentials("uid"));
    await assert.rejects(call({ address: wrong.unix }), {
      code: 3,
      details: /^Failed to convert JSON authentication metadata to Protobuf message: /,
    });
  });

  it("lets in whoever shows a certificate of its authority for clients", async () => {
    using server = await serve(certificates(), true);
    const address = server.tcp;
    await call({ address, ...showing("client") });
    assert.deepEqual(server.known, [
      {
        public: {
          dnsNames: ["client.example.com", "*.example.com"],
          emailAddresses: ["me@example.com"],
          uris: ["spiffe://example.com/a?b=c"],
        },
      },
    ]);
    await assert.rejects(
      call({ address, ...showing() }),
      unauthenticated("Client provided no X.509 client certificate"),
    );
    for (const name of ["server", "unknown"]) {
      await assert.rejects(
        call({ address, ...showing(name) }),
        unauthenticated(/^Cannot validate X\.509 client certificate: /),
      );
    }
    assert.equal(server.known.length, 1);
  });

  it("asks the expressions about a certificate", async () => {
    for (const [validation, extraction, code, details] of [
      ["`false`", "`{}`", 16, /^Rejected X\.509 client certificate claims$/],
      ["dnsNames", "`{}`", 16, /^Rejected X\.509 client certificate claims$/],
      ["length(a)", "`{}`", 16, /^Cannot validate X\.509 client certificate claims: /],
      ["`true`", "length(a)", 16, /^Cannot extract metadata from X\.509 client certificate: /],
      ["`true`", "`null`", 3, /^Failed to convert JSON authentication metadata/],
      ["`true`", "{a: 'x'}", 3, /^Failed to convert JSON authentication metadata/],
    ] as const) {
      using server = await serve(certificates(validation, extraction), true);
      await assert.rejects(call({ address: server.tcp, ...showing("client") }), { code, details });
    }
  });
});

describe("ClientCertificateVerifier", () => {
  it("refuses a certificate that has expired since the handshake", () => {
    const certificate = {
      validFromDate: new Date(1000),
      validToDate: new Date(2000),
      subjectAltName: undefined,
    } as unknown as X509Certificate;
    const tls = { authorized: true, getPeerX509Certificate: () => certificate } as unknown as TLSSocket;
    let now = 2000;
    const verifier = new ClientCertificateVerifier(
      { validation: expressed("`true`"), metadataExtraction: expressed("`{}`") },
      () => now,
    );
    assert.deepEqual(verifier.verify(tls), {});
    for (now of [2001, 999]) {
      assert.throws(
        () => verifier.verify(tls),
        /^AuthenticationError: Cannot validate X\.509 .*: certificate has expired/,
      );
    }
  });
});

describe("namesIn", () => {
  it("takes names apart, whatever is in them", () => {
    assert.deepEqual(namesIn(""), { dnsNames: [], emailAddresses: [], uris: [] });
    assert.deepEqual(
      namesIn('DNS:a, DNS:"b, DNS:c\\u0000\\"", IP Address:1.2.3.4, URI:x://y, email:z@y, DirName:C = d'),
      {
        dnsNames: ["a", 'b, DNS:c\0"'],
        emailAddresses: ["z@y"],
        uris: ["x://y"],
      },
    );
  });
});
