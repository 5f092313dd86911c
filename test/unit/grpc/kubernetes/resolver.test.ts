import assert from "node:assert/strict";
import { once } from "node:events";
import { it } from "node:test";
import { Server, ServerCredentials } from "@grpc/grpc-js";
import { createClient } from "../../../../src/grpc/client.ts";
import { openChannel } from "../../../../src/grpc/endpoint.ts";
import { addService, unary } from "../../../../src/grpc/handlers.ts";
import { registerKubernetesResolvers } from "../../../../src/grpc/kubernetes/resolver.ts";
import { Runner } from "../../../../src/proto/gen/buildbarn/runner/runner_pb.ts";
import { ApiServer, endpoints } from "./api-server.ts";

const apiServerHttpClient = { tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined };

async function serve(exitCode: bigint) {
  const server = new Server();
  addService(server, Runner, { run: unary(() => ({ exitCode })) });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
    error ? reject(error) : resolve(port),
  );
  return { port: await promise, [Symbol.dispose]: () => server.forceShutdown() };
}

it("a channel calls the pods of a service, also when they move, and watches no longer than it is open", async () => {
  await using api = await ApiServer.start();
  registerKubernetesResolvers([{ scheme: "kubernetes", apiServerUrl: api.url, apiServerHttpClient }]);
  const channel = openChannel({ address: "kubernetes://runner.pods:grpc" });
  const runner = createClient(Runner, channel);
  const first = await serve(1n);
  const second = await serve(2n);
  const at = (port: number) => endpoints(["127.0.0.1"], [{ name: "grpc", port }]);
  const call = runner.run({});
  const { send, response } = await api.next();
  send("ADDED", at(first.port));
  assert.equal((await call).exitCode, 1n);
  send("MODIFIED", at(second.port));
  first[Symbol.dispose]();
  let exitCode = 1n;
  while (exitCode !== 2n) {
    exitCode = await runner.run({}).then(
      (answer) => answer.exitCode,
      () => 0n,
    );
  }
  const closed = once(response, "close");
  channel.close();
  await closed;
  second[Symbol.dispose]();
});

it("a call fails with the reason while Kubernetes cannot be asked", async () => {
  await using api = await ApiServer.start();
  registerKubernetesResolvers([{ scheme: "elsewhere", apiServerUrl: api.url, apiServerHttpClient }]);
  const channel = openChannel({ address: "elsewhere:///runner.pods:1" });
  const call = createClient(Runner, channel).run({});
  (await api.next()).response.writeHead(403).end();
  await assert.rejects(call, {
    code: 14,
    details: /cannot ask Kubernetes for elsewhere:.*: the API server answered with status 403/,
  });
  channel.close();
});

it("an address that names no service is refused at once", () => {
  registerKubernetesResolvers([
    { scheme: "nowhere", apiServerUrl: "http://127.0.0.1:1", apiServerHttpClient },
  ]);
  assert.throws(
    () => openChannel({ address: "nowhere://../secrets:1" }),
    /give "\/\/SERVICE\.NAMESPACE:PORT"/,
  );
});
