import assert from "node:assert/strict";
import { test } from "node:test";
import { SingleFlight } from "../../../src/async/single-flight.ts";

test("callers share, failures do not last", async () => {
  const flights = new SingleFlight<number>();
  let starts = 0;
  const fail = Promise.withResolvers<number>();
  const start = () => (++starts === 1 ? fail.promise : Promise.resolve(starts));
  const both = Promise.allSettled([flights.run("k", undefined, start), flights.run("k", undefined, start)]);
  fail.reject(new Error("first"));
  assert.deepEqual(
    (await both).map(({ status }) => status),
    ["rejected", "rejected"],
  );
  assert.equal(starts, 1);
  assert.equal(await flights.run("k", undefined, start), 2);
});

test("aborted when the last caller gives up; the next one begins anew", async () => {
  const flights = new SingleFlight<number>();
  const signals: AbortSignal[] = [];
  const start = (signal: AbortSignal) => {
    signals.push(signal);
    return new Promise<number>(() => {});
  };
  const one = new AbortController();
  const two = new AbortController();
  const calls = [flights.run("k", one.signal, start), flights.run("k", two.signal, start)];
  one.abort(new Error("one"));
  await assert.rejects(calls[0]!, /one/);
  assert.equal(signals[0]!.aborted, false);
  two.abort(new Error("two"));
  await assert.rejects(calls[1]!, /two/);
  assert.equal(signals[0]!.aborted, true);
  assert.equal(await flights.run("k", undefined, async () => 7), 7);
  await assert.rejects(flights.run("k", one.signal, start), /one/);
});
