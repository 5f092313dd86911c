import assert from "node:assert/strict";
import { test } from "node:test";
import { piecesOf } from "../../../src/cas/transfer/upload-source.ts";

test("a source is read one piece ahead of who takes the pieces, and not further", async () => {
  const offsets: number[] = [];
  const source = {
    read(offset: number, count: number) {
      offsets.push(offset);
      return Promise.resolve(new Uint8Array(count).fill(offset));
    },
  };
  const taken: Uint8Array[] = [];
  for await (const piece of piecesOf(source, 1, 8, 3)) {
    taken.push(piece);
    assert.equal(offsets.length, Math.min(taken.length + 1, 3));
  }
  assert.deepEqual(Buffer.concat(taken), Buffer.from([1, 1, 1, 4, 4, 4, 7]));
});

test("a source that fails or ends early fails who takes the pieces; who has left is not disturbed", async () => {
  const failing = {
    async read(offset: number, count: number): Promise<Uint8Array> {
      if (offset > 0) {
        throw new Error("unreadable");
      }
      return new Uint8Array(count);
    },
  };
  for await (const piece of piecesOf(failing, 0, 6, 3)) {
    assert.equal(piece.length, 3);
    break;
  }
  await new Promise(setImmediate);
  await assert.rejects(drain(piecesOf(failing, 0, 6, 3)), /unreadable/);
  const short = { read: () => new Uint8Array(0) };
  await assert.rejects(drain(piecesOf(short, 0, 6, 3)), /ends at 0 of 6/);
});

async function drain(pieces: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const _ of pieces) {
    // Only taken.
  }
}
