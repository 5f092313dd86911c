import assert from "node:assert/strict";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import fc from "fast-check";
import { BlockFilePool, type PoolFile } from "../../../src/vfs/index.ts";

const folder = mkdtempSync(join(tmpdir(), "block-file-pool-"));
after(() => rmSync(folder, { recursive: true }));
const block = 64 * 1024;
let pools = 0;
const poolOf = (blocks: number) => new BlockFilePool(join(folder, `${pools++}`), blocks * block);

async function content(file: PoolFile, size: number, position = 0): Promise<Buffer> {
  const target = Buffer.alloc(size, 0xaa);
  await file.read(position, target);
  return target;
}

describe("a file pool in one file", () => {
  it("shows nothing of what the file held, nor of what other files held", async () => {
    const path = join(folder, "used");
    writeFileSync(path, Buffer.alloc(4 * block, 1));
    using pool = new BlockFilePool(path, 4 * block);
    const first = pool.open();
    await first.write(block + 5, Buffer.from("x"));
    assert.deepEqual(
      await content(first, 2 * block),
      Buffer.concat([Buffer.alloc(block + 5), Buffer.from("x"), Buffer.alloc(block - 6)]),
    );
    await first.write(0, Buffer.alloc(4 * block, 2));
    first.close();
    const second = pool.open();
    second.writeNow(10, Buffer.from("y"));
    assert.deepEqual(
      await content(second, block),
      Buffer.concat([Buffer.alloc(10), Buffer.from("y"), Buffer.alloc(block - 11)]),
    );
    assert.ok(statSync(path).size <= 4 * block);
    second.close();
  });

  it("leaves a file alone that another has open", async () => {
    const path = join(folder, "in use");
    using pool = new BlockFilePool(path, block);
    const file = pool.open();
    await file.write(0, Buffer.from("kept"));
    assert.throws(() => new BlockFilePool(path, block), /in use is in use by another process/);
    assert.equal((await content(file, 4)).toString(), "kept");
    file.close();
  });

  it("is full when its size is used, and has room again when files go", async () => {
    using pool = poolOf(2);
    assert.deepEqual(pool.space(), { totalBytes: 2 * block, freeBytes: 2 * block });
    const [first, second] = [pool.open(), pool.open()];
    await first.write(0, Buffer.alloc(block + 1));
    assert.equal(pool.space().freeBytes, 0);
    assert.throws(() => second.writeNow(0, Buffer.alloc(1)), { code: "ENOSPC" });
    await assert.rejects(async () => second.write(0, Buffer.alloc(1)), { code: "ENOSPC" });
    await first.shrink(block);
    await second.write(7, Buffer.alloc(1));
    first.close();
    second.close();
    assert.equal(pool.space().freeBytes, 2 * block);
  });

  it("keeps a block that is being read from whoever writes next", async () => {
    using pool = poolOf(1);
    const [first, second] = [pool.open(), pool.open()];
    first.writeNow(0, Buffer.alloc(block, 3));
    const reading = content(first, block);
    first.close();
    assert.throws(() => second.writeNow(0, Buffer.of(4)), { code: "ENOSPC" });
    assert.deepEqual(await reading, Buffer.alloc(block, 3));
    second.writeNow(0, Buffer.of(4));
    second.close();
  });

  it("needs room for at least a block, and a device where no size is given", () => {
    assert.throws(() => new BlockFilePool(join(folder, "small"), 100), /is smaller than 65536 bytes/);
    assert.throws(() => new BlockFilePool(join(folder, "file")), /is not a block device/);
  });

  it("reads what was written, whatever the order", async () => {
    const step = fc.oneof(
      fc.record({
        kind: fc.constant("write" as const),
        file: fc.nat(1),
        position: fc.nat(3 * block),
        size: fc.nat(2 * block),
        byte: fc.integer({ min: 1, max: 255 }),
        now: fc.boolean(),
      }),
      fc.record({ kind: fc.constant("shrink" as const), file: fc.nat(1), size: fc.nat(4 * block) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 8 }), async (steps) => {
        using pool = poolOf(12);
        const files = [0, 1].map(() => ({ file: pool.open(), model: Buffer.alloc(5 * block) }));
        for (const each of steps) {
          const { file, model } = files[each.file]!;
          if (each.kind === "shrink") {
            await file.shrink(each.size);
            model.fill(0, each.size);
          } else {
            const data = Buffer.alloc(each.size, each.byte);
            await (each.now ? file.writeNow(each.position, data) : file.write(each.position, data));
            data.copy(model, each.position);
          }
        }
        for (const { file, model } of files) {
          assert.ok((await content(file, model.length)).equals(model));
          file.close();
        }
        assert.equal(pool.space().freeBytes, pool.space().totalBytes);
      }),
      { numRuns: 40 },
    );
  });
});
