import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { SHA256 } from "../../../src/reapi/digest.ts";
import { CasDirectory } from "../../../src/vfs/directories/cas-directory.ts";
import { Entries } from "../../../src/vfs/directories/entries.ts";
import { HandleCodec } from "../../../src/vfs/handles.ts";

const digest = { instanceName: "", function: SHA256, hash: "ab".repeat(32), sizeBytes: 1 };

function originOf(names: readonly string[]): CasDirectory {
  const files = names.map((name) => ({ name, digest, isExecutable: false }));
  return new CasDirectory({ files, directories: [], symlinks: [] }, new HandleCodec());
}

function list(entries: Entries<string>): { name: string; cookie: number }[] {
  const found = [];
  for (let position = 0; position < entries.positionCount; position++) {
    const name = entries.nameAt(position);
    if (name !== undefined) {
      found.push({ name, cookie: entries.cookieAt(position) });
    }
  }
  return found;
}

const name = fc.nat(80).map((n) => `n${n}`);
/** Those of a CAS directory, and their order in a listing. */
const initialNames = fc.uniqueArray(name, { maxLength: 40 }).chain((names) =>
  fc.record({
    names: fc.constant(names),
    order: fc.option(
      fc.shuffledSubarray([...names.keys()], { minLength: names.length, maxLength: names.length }),
      { nil: undefined },
    ),
  }),
);
const steps = fc.array(fc.record({ add: fc.boolean(), name }), { maxLength: 300 });

test("entries hold what a map holds, in order, with cookies that stay", () => {
  fc.assert(
    fc.property(initialNames, steps, ({ names: initial, order }, steps) => {
      const entries = new Entries<string>(originOf(initial), order && Uint32Array.from(order));
      if (order !== undefined) {
        assert.deepEqual(
          list(entries).map(({ name }) => initial.indexOf(name)),
          order,
        );
      }
      const model = new Map<string, { cookie: number; child: string | undefined }>();
      list(entries).forEach(({ name, cookie }) => {
        model.set(name, { cookie, child: undefined });
      });
      let lastCookie = 2 + initial.length;
      for (const { add, name } of steps) {
        const position = entries.find(name);
        assert.equal(position >= 0, model.has(name));
        if (add && position < 0) {
          entries.add(name, `child of ${name}`);
          const cookie = entries.cookieAt(entries.find(name));
          assert.ok(cookie > lastCookie);
          lastCookie = cookie;
          model.set(name, { cookie, child: `child of ${name}` });
        } else if (!add && position >= 0) {
          entries.remove(position);
          model.delete(name);
        }
      }
      assert.equal(entries.count, model.size);
      assert.deepEqual(
        list(entries),
        [...model].map(([name, { cookie }]) => ({ name, cookie })),
      );
      for (const [name, { cookie, child }] of model) {
        const position = entries.find(name);
        assert.equal(entries.childAt(position), child);
        if (child === undefined) {
          assert.equal(initial[entries.originPosition(position)], name);
        }
        let next = entries.positionAfter(cookie)!;
        while (next < entries.positionCount && entries.nameAt(next) === undefined) {
          next++;
        }
        const following = [...model.values()].find((entry) => entry.cookie > cookie);
        assert.equal(next < entries.positionCount ? entries.cookieAt(next) : undefined, following?.cookie);
      }
      assert.equal(entries.positionAfter(lastCookie + 1), undefined);
      assert.equal(entries.positionAfter(2), undefined);
    }),
  );
});

test("removing 100,000 entries one by one takes linear time in all", () => {
  const entries = new Entries<string>(undefined);
  for (let i = 0; i < 100_000; i++) {
    entries.add(`file${i}`, "x");
  }
  let steps = 0;
  for (let i = 0; i < 100_000; i++) {
    entries.remove(entries.find(`file${i}`));
    steps += entries.positionCount > 2 * entries.count + 32 ? 1 : 0;
  }
  assert.equal(entries.count, 0);
  assert.equal(steps, 0, "holes are never more than the entries that are left, and some");
});
