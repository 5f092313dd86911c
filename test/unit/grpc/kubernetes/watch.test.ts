import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import fc from "fast-check";
import { podAddresses } from "../../../../src/grpc/kubernetes/endpoints.ts";
import { kubernetesTarget } from "../../../../src/grpc/kubernetes/target.ts";
import { EndpointsWatch } from "../../../../src/grpc/kubernetes/watch.ts";
import { HttpClient } from "../../../../src/http/client.ts";
import { ApiServer, endpoints } from "./api-server.ts";

const client = new HttpClient({ tls: undefined, proxyUrl: undefined, headers: [], oauth2: undefined });

/** What comes, one after the other. */
class Arrivals<T> {
  readonly #items: T[] = [];
  readonly #waiting: ((item: T) => void)[] = [];

  add(item: T): void {
    const taker = this.#waiting.shift();
    if (taker) {
      taker(item);
    } else {
      this.#items.push(item);
    }
  }

  next(): Promise<T> {
    return this.#items.length > 0
      ? Promise.resolve(this.#items.shift()!)
      : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

function watch(apiServerUrl: string, port: string | undefined = "8981") {
  const found = new Arrivals<readonly string[]>();
  const errors = new Arrivals<string>();
  const watching = new EndpointsWatch({
    client,
    apiServerUrl,
    target: { namespace: "buildbarn", service: "storage", port },
    onAddresses: (addresses) => found.add(addresses.map(({ host, port }) => `${host}:${port}`)),
    onError: ({ message }) => errors.add(message),
    delays: [1, 2],
  });
  return { found, errors, [Symbol.dispose]: () => watching[Symbol.dispose]() };
}

describe("EndpointsWatch", () => {
  it("has the addresses that there are, and those that come; the last ones stay when there are none", async () => {
    await using api = await ApiServer.start();
    using watching = watch(`${api.url}/`);
    const { url, response, send } = await api.next();
    assert.equal(
      url,
      "/api/v1/namespaces/buildbarn/endpoints?watch=true&fieldSelector=metadata.name%3Dstorage&timeoutSeconds=300",
    );
    send("ADDED", endpoints(["10.0.0.1", "fd00::1"]));
    assert.deepEqual(await watching.found.next(), ["10.0.0.1:8981", "fd00::1:8981"]);
    send("MODIFIED", endpoints([]));
    send("BOOKMARK", {});
    send("DELETED", endpoints(["10.0.0.9"]));
    send("MODIFIED", {});
    // In two parts, with an empty line between events.
    response.write('\n{"type":"MODIFIED","object":');
    response.write(`${JSON.stringify(endpoints(["10.0.0.2"]))}}\n`);
    assert.deepEqual(await watching.found.next(), ["10.0.0.2:8981"]);
  });

  it("watches again when the server ends it", async () => {
    await using api = await ApiServer.start();
    using watching = watch(api.url);
    for (const ip of ["10.0.0.1", "10.0.0.2", "10.0.0.3"]) {
      const { send, response } = await api.next();
      send("ADDED", endpoints([ip]));
      assert.deepEqual(await watching.found.next(), [`${ip}:8981`]);
      response.end();
    }
    await api.next();
  });

  it("says what is wrong, and watches again", async () => {
    await using api = await ApiServer.start();
    using watching = watch(api.url);
    const answers: [(watch: Awaited<ReturnType<ApiServer["next"]>>) => void, RegExp][] = [
      [
        ({ send }) => send("ERROR", { code: 410, message: "too old" }),
        /^the API server ended the watch: too old$/,
      ],
      [
        ({ response }) => response.writeHead(403).end(),
        /^the API server answered with status 403 instead of 200$/,
      ],
      [({ response }) => response.write("nonsense\n"), /JSON/],
      [({ response }) => response.write("null\n"), /no event of Kubernetes'/],
      [({ send }) => send("ADDED", { subsets: 5 }), /has no list of subsets/],
      [({ response }) => response.write("x".repeat(9 * 2 ** 20)), /line of more than 8388608 bytes/],
      [({ response }) => response.destroy(), /socket hang up|closed|aborted/],
    ];
    for (const [answer, problem] of answers) {
      answer(await api.next());
      assert.match(await watching.errors.next(), problem);
    }
    const { send } = await api.next();
    send("ADDED", endpoints(["10.0.0.1"]));
    assert.deepEqual(await watching.found.next(), ["10.0.0.1:8981"]);
  });

  it("says so where there is no server, and gives up one that hangs when it is disposed of", async () => {
    const gone = await ApiServer.start();
    await gone[Symbol.asyncDispose]();
    using nowhere = watch(gone.url);
    assert.match(await nowhere.errors.next(), /ECONNREFUSED/);
    await using api = await ApiServer.start();
    const watching = watch(api.url);
    const { response } = await api.next();
    const closed = once(response, "close");
    watching[Symbol.dispose]();
    await closed;
  });
});

describe("podAddresses", () => {
  const ports = [
    { name: "metrics", port: 9980 },
    { name: "grpc", port: 8981 },
  ];

  it("takes a port's number as it is, looks up its name, and else has the first", () => {
    const of = (port: string | undefined) => podAddresses(endpoints(["10.0.0.1"], ports), port)[0]?.port;
    assert.deepEqual(["1234", "grpc", "other", undefined].map(of), [1234, 8981, 9980, 9980]);
    assert.deepEqual(podAddresses(endpoints(["10.0.0.1"], []), undefined), []);
  });

  it("makes nothing of nonsense", () => {
    fc.assert(
      fc.property(
        fc.object({ key: fc.constantFrom("subsets", "addresses", "ports", "ip", "port") }),
        (object) => {
          try {
            for (const { host, port } of podAddresses(object, undefined)) {
              assert.deepEqual([typeof host, typeof port], ["string", "number"]);
            }
          } catch (error) {
            assert.match((error as Error).message, /no list of subsets/);
          }
        },
      ),
    );
    assert.deepEqual(podAddresses({ subsets: [null, { addresses: 5, ports: [null] }] }, "grpc"), []);
  });
});

describe("kubernetesTarget", () => {
  const target = (address: string) => kubernetesTarget(address, () => "mine");
  const storage = { service: "storage", namespace: "buildbarn" };

  it("takes Buildbarn's forms of addresses", () => {
    for (const address of [
      "//storage.buildbarn",
      "///storage.buildbarn",
      "//storage.buildbarn.svc.cluster.local",
    ]) {
      assert.deepEqual(target(`${address}:8981`), { ...storage, port: "8981" });
    }
    assert.deepEqual(target("//buildbarn/storage:grpc"), { ...storage, port: "grpc" });
    assert.deepEqual(target("//storage.buildbarn:8981/"), { ...storage, port: "8981" });
    assert.deepEqual(target("///storage"), { service: "storage", namespace: "mine", port: undefined });
  });

  it("takes nothing that could be another path of the API", () => {
    for (const address of [
      "",
      "storage",
      "//",
      "//..",
      "//a.b:0",
      "//a.b:99999",
      "//a%2Fb",
      "//a/../b",
      "//a.b:1:2",
      "//A.b",
    ]) {
      assert.throws(() => target(address), /give "\/\/SERVICE\.NAMESPACE:PORT"/, address);
    }
  });
});
