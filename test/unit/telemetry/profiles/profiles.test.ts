import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync } from "node:zlib";
import { Profile } from "pprof-format";
import { type HttpServerSettings, serveDiagnostics } from "../../../../src/telemetry/diagnostics-server.ts";
import { profilePages } from "../../../../src/telemetry/profiles/pages.ts";

const local: HttpServerSettings = {
  addresses: [{ host: "127.0.0.1", port: 0 }],
  tls: undefined,
  authentication: { kind: "allow", metadata: {} },
};

/** Keeps the processor busy, under a name that a profile shows, until the promise settles. */
async function busyUntil<T>(answer: Promise<T>): Promise<T> {
  let done = false;
  const settled = answer.finally(() => {
    done = true;
  });
  const work = function manyRoots() {
    let sum = 0;
    for (let i = 0; i < 200_000; i++) {
      sum += Math.sqrt(i);
    }
    return sum;
  };
  while (!done) {
    work();
    await new Promise(setImmediate);
  }
  return settled;
}

describe("profiles", () => {
  it("of the CPU are what pprof and Chrome read, and show who was busy", async () => {
    await using server = await serveDiagnostics([local], { pages: profilePages() });
    const get = (query: string) =>
      fetch(`http://127.0.0.1:${server.ports[0]}/debug/pprof/profile?seconds=0.3${query}`);
    const pprof = await busyUntil(get("").then((response) => response.arrayBuffer()));
    const profile = Profile.decode(gunzipSync(Buffer.from(pprof)));
    const { strings } = profile.stringTable;
    assert.deepEqual(
      profile.sampleType.map(({ type, unit }) => [strings[Number(type)], strings[Number(unit)]]),
      [
        ["samples", "count"],
        ["cpu", "nanoseconds"],
      ],
    );
    const busy = profile.function.find(({ name }) => strings[Number(name)] === "manyRoots");
    assert.match(strings[Number(busy?.filename)] ?? "", /profiles\.test\.ts$/);
    const times = profile.sample.filter(({ locationId }) => locationId[0] === busy?.id);
    assert.ok(times.reduce((sum, { value }) => sum + Number(value[1]), 0) > 10_000_000);

    const v8 = await busyUntil(
      get("&format=v8").then((response) => response.json() as Promise<Record<string, unknown>>),
    );
    assert.ok(Array.isArray(v8.nodes) && Array.isArray(v8.samples));
  });

  it("of the heap show what was allocated meanwhile", async () => {
    await using server = await serveDiagnostics([local], { pages: profilePages() });
    const kept: object[] = [];
    const response = fetch(`http://127.0.0.1:${server.ports[0]}/debug/pprof/heap?seconds=0.3`);
    const bytes = response.then((answer) => answer.arrayBuffer());
    let done = false;
    void bytes.finally(() => {
      done = true;
    });
    while (!done) {
      kept.push(new Array(10_000).fill(kept.length));
      await new Promise(setImmediate);
    }
    const profile = Profile.decode(gunzipSync(Buffer.from(await bytes)));
    assert.equal(profile.stringTable.strings[Number(profile.sampleType[0]?.type)], "inuse_space");
    assert.ok(profile.sample.reduce((sum, { value }) => sum + Number(value[0]), 0) > 0);
  });

  it("are taken one at a time, for a bounded time, and listed", async () => {
    await using server = await serveDiagnostics([local], { pages: profilePages() });
    const get = (path: string) => fetch(`http://127.0.0.1:${server.ports[0]}/debug/pprof/${path}`);
    const first = get("profile?seconds=0.5");
    // Else this one might come first.
    await get("");
    const second = await get("heap?seconds=0.1");
    assert.deepEqual([second.status, await second.text()], [429, "another profile is being taken\n"]);
    assert.equal((await first).status, 200);
    for (const seconds of ["0", "601", "x"]) {
      assert.equal((await get(`profile?seconds=${seconds}`)).status, 500);
    }
    assert.match(await (await get("")).text(), /heapsnapshot/);
  });
});
