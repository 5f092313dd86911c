import assert from "node:assert/strict";
import { isUtf8 } from "node:buffer";
import { describe, it } from "node:test";
import fc from "fast-check";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, handle, name, openFile, type Step, type TestSession } from "./client.ts";
import { serve } from "./fixture.ts";

const INVALID = "caf\xe9";
const VALID = Buffer.from("café 🗂").toString("latin1");

const lookup = async (session: TestSession, wanted: string) =>
  (await session.call([["PUTROOTFH"], ["LOOKUP", name(wanted)]])).status;

async function charsetCap(session: TestSession): Promise<number> {
  const asked: Step = [
    "GETATTR",
    (writer) => {
      for (const word of [3, 0, 0, 1 << (Attribute.FS_CHARSET_CAP - 64)]) {
        writer.uint32(word);
      }
    },
  ];
  const { reader } = await session.call([["PUTROOTFH"], asked]);
  expectResult(reader, "PUTROOTFH");
  expectResult(reader, "GETATTR");
  reader.skip(4 * 5);
  return reader.uint32();
}

describe("names", () => {
  it("are any bytes but / and NUL, up to 255, and are found again", async (t) => {
    const session = await (await serve(t)).session();
    const byte = fc.integer({ min: 1, max: 255 }).filter((value) => value !== 0x2f);
    const bytes = fc.array(byte, { minLength: 1, maxLength: 255 });
    const unusual = bytes.filter((value) => !/^\.\.?$/.test(String.fromCharCode(...value)));
    await fc.assert(
      fc.asyncProperty(unusual, async (value) => {
        const wanted = String.fromCharCode(...value);
        assert.equal((await openFile(session, wanted, { create: "unchecked" })).status, Status.OK);
        assert.equal(await lookup(session, wanted), Status.OK);
      }),
      { numRuns: 50 },
    );
    for (const [wrong, status] of [
      ["", Status.INVAL],
      [".", Status.BADNAME],
      ["..", Status.BADNAME],
      ["a/b", Status.BADCHAR],
      ["a\0", Status.BADCHAR],
      ["x".repeat(256), Status.NAMETOOLONG],
    ] as const) {
      assert.equal(await lookup(session, wrong), status, JSON.stringify(wrong));
    }
    assert.equal(await charsetCap(session), 1);
  });

  it("are UTF-8 or NFS4ERR_INVAL with the option utf8Names, whatever they are used for", async (t) => {
    const session = await (await serve(t, { utf8Names: true })).session();
    assert.equal(await charsetCap(session), 2);
    assert.equal((await openFile(session, INVALID, { create: "unchecked" })).status, Status.INVAL);
    const file = await openFile(session, VALID, { create: "unchecked" });
    assert.equal(file.status, Status.OK);
    assert.equal(await lookup(session, VALID), Status.OK);
    const both = (first: string, second: string): Step => [
      "RENAME",
      (writer) => {
        writer.latin1(first);
        writer.latin1(second);
      },
    ];
    const makeDirectory: Step = [
      "CREATE",
      (writer) => {
        writer.uint32(2);
        writer.latin1(INVALID);
        writer.uint32(0);
        writer.uint32(0);
      },
    ];
    const setAttribute: Step = [
      "SETXATTR",
      (writer) => {
        writer.uint32(0);
        writer.latin1(INVALID);
        writer.opaque(Buffer.from("value"));
      },
    ];
    const root: Step[] = [["PUTROOTFH"], ["SAVEFH"]];
    const requests: Step[][] = [
      [...root, ["LOOKUP", name(INVALID)]],
      [...root, ["REMOVE", name(INVALID)]],
      [...root, ["SECINFO", name(INVALID)]],
      [...root, both(INVALID, VALID)],
      [...root, both(VALID, INVALID)],
      [...root, makeDirectory],
      [["PUTFH", handle(file.handle)], ["SAVEFH"], ["PUTROOTFH"], ["LINK", name(INVALID)]],
      [["PUTFH", handle(file.handle)], setAttribute],
    ];
    for (const steps of requests) {
      const { status } = await session.call(steps, { minorVersion: 2 });
      assert.equal(status, Status.INVAL, String(steps.at(-1)![0]));
    }
  });

  it("are judged as Unicode does: cut, overlong and surrogate sequences are not UTF-8", async (t) => {
    const session = await (await serve(t, { utf8Names: true })).session();
    const bytes = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 6, min: 1 }),
      fc.string({ unit: "binary", minLength: 1, maxLength: 6 }).map((text) => Buffer.from(text)),
      fc
        .constantFrom([0xc0, 0xaf], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82])
        .map(Buffer.from),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (value) => {
        fc.pre(!value.includes(0) && !value.includes(0x2f) && value[0] !== 0x2e);
        const status = await lookup(session, Buffer.from(value).toString("latin1"));
        assert.equal(status, isUtf8(value) ? Status.NOENT : Status.INVAL);
      }),
      { numRuns: 100 },
    );
  });
});
