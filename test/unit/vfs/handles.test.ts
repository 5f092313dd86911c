import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { Status } from "../../../src/nfs/protocol/status.ts";
import type { Digest } from "../../../src/reapi/digest.ts";
import { FileTree, MemoryFilePool } from "../../../src/vfs/index.ts";
import { expectResult, handle, name, type TestSession } from "../nfs/client.ts";
import { serve } from "../nfs/fixture.ts";
import { ANONYMOUS, read } from "../nfs/steps.ts";
import { executable, FakeInputSource } from "./fake-input-source.ts";

const KNOWN = "in the input root\n";
const SECRET = "in no input root!\n";

/** An action's input root, behind a server, and a blob that storage has, but no input root. */
async function serveInputs(t: TestContext) {
  const source = new FakeInputSource();
  const tree = new FileTree({ source, pool: new MemoryFilePool(1) });
  const build = tree.createBuildDirectory("action");
  await build.attachInputRoot(["root"], source.addTree({ known: KNOWN, tool: executable("#!/bin/sh\n") }));
  const secret = source.addBlob(SECRET);
  const { session } = await serve(t, { fileSystem: tree });
  return { source, secret, session: await session() };
}

async function handleOf(session: TestSession, ...path: string[]): Promise<Buffer> {
  const { reader } = await session.call([
    ["PUTROOTFH"],
    ...path.map((component) => ["LOOKUP", name(component)] as const),
    ["GETFH"],
  ]);
  expectResult(reader, "PUTROOTFH");
  for (const _ of path) {
    expectResult(reader, "LOOKUP");
  }
  expectResult(reader, "GETFH");
  return Buffer.from(reader.opaque(128));
}

async function readBy(session: TestSession, file: Buffer): Promise<number> {
  return (await session.call([["PUTFH", handle(file)], read(ANONYMOUS, 0, 100)])).status;
}

function forge(known: Buffer, digestOfKnown: Digest, digest: Digest): Buffer {
  const forged = Buffer.from(known);
  const at = forged.indexOf(Buffer.from(digestOfKnown.hash, "hex"));
  assert.ok(at > 0, "the handle has the digest in it");
  forged.write(digest.hash, at, "hex");
  return forged;
}

describe("a file handle that somebody makes up", () => {
  it("does not lead to a blob that no input root has", async (t) => {
    const { source, secret, session } = await serveInputs(t);
    const known = await handleOf(session, "action", "root", "known");
    assert.equal(await readBy(session, known), Status.OK);
    source.readsAsked.length = 0;
    const forged = forge(known, source.addBlob(KNOWN), secret);
    assert.equal(await readBy(session, forged), Status.STALE);
    assert.deepEqual(source.readsAsked, []);
  });

  it("leads nowhere, whichever bit of a true one it changes, and however long it is", async (t) => {
    const { source, session } = await serveInputs(t);
    const paths = [
      [],
      ["action"],
      ["action", "root"],
      ["action", "root", "known"],
      ["action", "root", "tool"],
    ];
    for (const path of paths) {
      const known = await handleOf(session, ...path);
      source.readsAsked.length = 0;
      for (let bit = 0; bit < known.length * 8; bit++) {
        const forged = Buffer.from(known);
        forged[bit >> 3]! ^= 1 << (bit & 7);
        assert.equal(await readBy(session, forged), Status.STALE, `bit ${bit} of ${path.join("/")}`);
      }
      for (const forged of [known.subarray(0, -1), Buffer.concat([known, Buffer.alloc(1)])]) {
        assert.equal(await readBy(session, forged), Status.STALE);
      }
      assert.deepEqual(source.readsAsked, []);
    }
  });

  it("is not made true by another worker, which has the same blob", async (t) => {
    const one = await serveInputs(t);
    const other = await serveInputs(t);
    const known = await handleOf(one.session, "action", "root", "known");
    await handleOf(other.session, "action", "root", "known");
    assert.equal(await readBy(other.session, known), Status.STALE);
  });
});
