/**
 * Compounds of every operation with arguments that are right, nearly right or noise. FUZZ_REQUESTS sets how many
 * (default 3,000; the long run takes 1,000,000).
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as nextTurn } from "node:timers/promises";
import fc from "fast-check";
import { OPERATIONS } from "../../../src/nfs/operations/index.ts";
import { Operation, type OperationName } from "../../../src/nfs/protocol/operation.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { encodeCompound, openFile, parseReply, type Step, TestSession } from "./client.ts";
import { serve } from "./fixture.ts";

const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 3000);
const NAMES = (Object.keys(Operation) as OperationName[]).filter(
  (name) => OPERATIONS[2]![Operation[name]] !== undefined,
);
const DESTRUCTIVE = new Set<OperationName>([
  "DESTROY_SESSION",
  "DESTROY_CLIENTID",
  "SEQUENCE",
  "CREATE_SESSION",
]);

type Piece =
  | { kind: "word"; value: number }
  | { kind: "bytes"; value: Uint8Array }
  | { kind: "stateid" | "handle" | "clientid" };

const piece: fc.Arbitrary<Piece> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("word" as const),
      value: fc.oneof(fc.nat(8), fc.integer({ min: 0, max: 0xffff_ffff })),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("bytes" as const), value: fc.uint8Array({ maxLength: 40 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constantFrom("stateid" as const, "handle" as const, "clientid" as const),
    }),
  },
);
const step = fc.tuple(
  fc.constantFrom(...NAMES.filter((name) => !DESTRUCTIVE.has(name))),
  fc.array(piece, { maxLength: 14 }),
);
const request = fc.record({
  steps: fc.array(step, { maxLength: 6 }),
  startsAt: fc.constantFrom("root", "file", "nowhere"),
  damage: fc.option(fc.tuple(fc.nat(400), fc.nat(255)), { freq: 3 }),
  cut: fc.option(fc.nat(300), { freq: 8 }),
  minorVersion: fc.constantFrom(0, 1, 2, 2, 2, 3),
});

type Made = typeof request extends fc.Arbitrary<infer T> ? T : never;

describe("hostile requests", () => {
  it("all get an answer that can be read, or none, and leave the server as it was", async (t) => {
    const { session: start, server, connect } = await serve(t, { delegations: true });
    const session = await TestSession.create(await connect(), "fuzzer", 1, true);
    const { stateid, handle } = await openFile(session, "file", { create: "unchecked" });
    await openFile(session, "second", { create: "unchecked" });

    const encode = (made: Made, session: TestSession, slot: number): Buffer => {
      const steps: Step[] = made.steps.map(([name, pieces]) => [
        name,
        (writer) => {
          for (const part of pieces) {
            if (part.kind === "word") {
              writer.uint32(part.value);
            } else if (part.kind === "bytes") {
              writer.opaque(part.value);
            } else if (part.kind === "stateid") {
              writer.fixed(stateid);
            } else if (part.kind === "handle") {
              writer.opaque(handle);
            } else {
              writer.fixed(session.clientid);
            }
          }
        },
      ]);
      if (made.startsAt === "root") {
        steps.unshift(["PUTROOTFH"]);
      } else if (made.startsAt === "file") {
        steps.unshift(["PUTFH", (writer) => writer.opaque(handle)]);
      }
      if (made.minorVersion > 0) {
        steps.unshift(session.sequence(slot, slot % 2 === 0));
      }
      const bytes = encodeCompound(steps, { minorVersion: made.minorVersion });
      // SEQUENCE itself stays whole, so that most requests get past it.
      const intact = made.minorVersion > 0 ? 100 : 50;
      if (made.damage !== null) {
        const [at, value] = made.damage;
        if (intact + at < bytes.length) {
          bytes[intact + at] = value;
        }
      }
      return made.cut === null ? bytes : bytes.subarray(0, Math.max(4, bytes.length - made.cut));
    };

    let connection = await connect();
    let sent = 0;
    const batches = fc.sample(request, { numRuns: Math.min(REQUESTS, 20_000), seed: 20261123 });
    while (sent < REQUESTS) {
      for (const made of batches) {
        const message = encode(made, session, sent % 32);
        const answered = connection.exchange(message).then(
          (reply) => readable(reply),
          () => "closed",
        );
        sent++;
        if (sent % 64 === 0) {
          connection.close();
          await answered;
          connection = await connect();
        } else if (sent % 8 === 0) {
          await nextTurn();
        }
        if (sent >= REQUESTS) {
          break;
        }
      }
    }
    const honest = await start("honest");
    assert.equal((await openFile(honest, "honest file", { create: "unchecked" })).status, Status.OK);
    assert.ok(server.statistics().states < 20_000);
  });

  it("survives bytes that are nothing at all", async (t) => {
    const { connect, session: start } = await serve(t);
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 600 }), async (noise) => {
        const connection = await connect();
        connection.socket.write(noise);
        connection.socket.end();
        await nextTurn();
        connection.close();
      }),
      { numRuns: 200 },
    );
    assert.equal((await openFile(await start(), "file", { create: "unchecked" })).status, Status.OK);
  });
});

/** Denied and GARBAGE_ARGS replies have no COMPOUND4res; any other must parse. */
function readable(reply: Buffer): void {
  if (reply.readUInt32BE(8) !== 0 || reply.readUInt32BE(20) !== 0) {
    return;
  }
  const { count } = parseReply(reply);
  assert.ok(count <= 16);
}
