import assert from "node:assert/strict";
import { test } from "node:test";
import { ReadAhead } from "../../../src/cas/read/read-ahead.ts";

const MiB = 1024 * 1024;

test("nothing for a look at the head or for random pages", () => {
  const readAhead = new ReadAhead(2 * MiB, 16 * MiB);
  assert.equal(readAhead.note(0, 4096), undefined);
  assert.equal(readAhead.note(4096, 128 * 1024), undefined);
  for (const offset of [500, 20, 300, 7, 90]) {
    assert.equal(readAhead.note(offset * MiB, 4096), undefined);
  }
});

test("grows with what is read in sequence, each part asked for once", () => {
  const readAhead = new ReadAhead(2 * MiB, 16 * MiB);
  let covered = 0;
  for (let offset = 0; offset < 100 * MiB; offset += MiB) {
    const range = readAhead.note(offset, MiB);
    if (range !== undefined) {
      assert.ok(range.from >= covered);
      covered = range.until;
      assert.ok(covered - (offset + MiB) <= 18 * MiB);
    }
    if (offset > 40 * MiB) {
      assert.ok(covered - offset >= 8 * MiB, "ahead of the reader");
    }
  }
});

test("reads that overtake each other are still a sequence", () => {
  const readAhead = new ReadAhead(2 * MiB, 16 * MiB);
  const ranges = [1, 0, 3, 2, 5, 4, 6].map((part) => readAhead.note((part * MiB) / 2, MiB / 2));
  assert.ok(ranges.some((range) => range !== undefined));
});
