import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Extents } from "../../../src/vfs/content/extents.ts";

const SIZE = 64;
const range = fc.tuple(fc.nat(SIZE), fc.nat(SIZE)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
const step = fc.record({ add: fc.boolean(), range });

test("extents answer as a table of bytes does", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), range, (steps, [from, to]) => {
      const extents = new Extents();
      const table = new Array<boolean>(SIZE).fill(false);
      for (const { add, range } of steps) {
        if (add) {
          extents.add(range[0], range[1]);
        } else {
          extents.remove(range[0], range[1]);
        }
        table.fill(add, range[0], range[1]);
      }
      assert.equal(extents.total, table.filter(Boolean).length);
      assert.equal(extents.covered(from, to), table.slice(from, to).filter(Boolean).length);
      for (let at = 0; at < SIZE; at++) {
        const hole = table.indexOf(false, at);
        assert.equal(extents.endAt(at), table[at] ? (hole < 0 ? SIZE : hole) : undefined);
        const start = table.findIndex((own, i) => i > at && own && !table[i - 1]);
        assert.equal(extents.startAfter(at), start < 0 ? undefined : start);
      }
    }),
  );
});

test("adjoining ranges become one", () => {
  const extents = new Extents();
  extents.add(0, 10);
  extents.add(20, 30);
  extents.add(10, 20);
  assert.equal(extents.endAt(0), 30);
  assert.equal(extents.startAfter(0), undefined);
});
