/** Data, holes and the space that is used, in the memory file system's files: against a model of their pages. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate } from "node:timers/promises";
import fc from "fast-check";
import { MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Content } from "../../../src/nfs/memory/content.ts";
import { MemoryFile } from "../../../src/nfs/memory/file.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, handle, openFile, type Step } from "./client.ts";
import { serve } from "./fixture.ts";
import { write } from "./steps.ts";

const PAGE = 4096;
const CHUNK = 2 ** 20;
const ROOT = { userId: 0, groupId: 0, supplementaryGroupIds: [] };

/** The pages of a file that are no holes, by number. */
class Model {
  size = 0;
  pages = new Map<number, "data" | "reserved">();

  write(from: number, to: number): void {
    for (let page = Math.floor(from / PAGE); page * PAGE < to; page++) {
      this.pages.set(page, "data");
    }
    this.size = Math.max(this.size, to);
  }

  reserve(from: number, to: number): void {
    for (let page = Math.floor(from / PAGE); page * PAGE < to; page++) {
      this.pages.set(page, this.pages.get(page) ?? "reserved");
    }
    this.size = Math.max(this.size, to);
  }

  truncate(size: number): void {
    if (size < this.size) {
      this.clear(size, this.size);
    }
    this.size = size;
  }

  clear(from: number, to: number): void {
    for (const page of [...this.pages.keys()]) {
      if (page * PAGE >= from && ((page + 1) * PAGE <= to || to >= this.size)) {
        this.pages.delete(page);
      }
    }
  }

  seek(offset: number, data: boolean): number {
    for (let at = offset; at < this.size; at = (Math.floor(at / PAGE) + 1) * PAGE) {
      if ((this.pages.get(Math.floor(at / PAGE)) === "data") === data) {
        return at;
      }
    }
    return this.size;
  }
}

const offset = fc
  .tuple(
    fc.constantFrom(0, CHUNK - 2 * PAGE, 2 * CHUNK - PAGE),
    fc.oneof(fc.nat(4 * PAGE), fc.constantFrom(0, 1, 2048, PAGE, 2 * PAGE)),
  )
  .map(([base, more]) => base + more);
const change = fc.record({
  kind: fc.constantFrom("write", "truncate", "deallocate", "allocate"),
  offset,
  length: fc.oneof(fc.integer({ min: 1, max: 3 * PAGE }), fc.constantFrom(1, PAGE, CHUNK)),
});

describe("content in memory", () => {
  it("has data, holes and used space where the model of its pages has them", () => {
    fc.assert(
      fc.property(fc.array(change, { maxLength: 20 }), (changes) => {
        let memory = 0;
        const content = new Content((bytes) => {
          memory += bytes;
        });
        const model = new Model();
        for (const { kind, offset, length } of changes) {
          const end = offset + length;
          if (kind === "write") {
            content.write(offset, Buffer.alloc(length, 1));
            model.write(offset, end);
          } else if (kind === "truncate") {
            content.truncate(offset);
            model.truncate(offset);
          } else if (kind === "deallocate") {
            content.clear(offset, Math.min(end, content.size));
            model.clear(offset, Math.min(end, model.size));
          } else {
            content.reserve(offset, end);
            model.reserve(offset, end);
          }
          assert.equal(content.size, model.size);
          assert.equal(content.spaceUsed, model.pages.size * PAGE);
          assert.ok(memory >= content.spaceUsed);
        }
        const clone = new Content(() => {});
        for (const _ of clone.cloning(content, 0, 0, content.size)) {
          assert.fail("so few chunks are one step");
        }
        for (let at = 0; at < model.size; at += PAGE / 2) {
          for (const data of [true, false]) {
            const found = model.seek(at, data);
            assert.equal(content.seek(at, data), found);
            assert.equal(clone.seek(at, data), found);
          }
        }
        content.truncate(0);
        assert.deepEqual([content.spaceUsed, memory], [0, 0]);
      }),
      { numRuns: 150 },
    );
  });

  it("is cloned and cleared in turns where it has many chunks", async () => {
    const fileSystem = new MemoryFileSystem({ capacity: 2 ** 30 });
    const [source, target] = await Promise.all(
      ["source", "target"].map((name) => fileSystem.root.createFile(name, ROOT, {})),
    );
    assert.ok(source instanceof MemoryFile && target instanceof MemoryFile);
    const chunks = 5000;
    for (let chunk = 0; chunk < chunks; chunk++) {
      await source.write(chunk * CHUNK, Buffer.from("new"));
    }
    await target.write(0, Buffer.from("old"));
    const turnsOf = async (work: unknown) => {
      let ended = false;
      const ending = Promise.resolve(work).then(() => {
        ended = true;
      });
      let turns = 0;
      for (; !ended; turns++) {
        await setImmediate();
      }
      await ending;
      return turns;
    };
    const size = (chunks - 1) * CHUNK + 3;
    const cloning = target.cloneRange(source, 0, 0, size);
    const { size: sizeMeanwhile, change } = { ...target.attributes() };
    assert.equal(sizeMeanwhile, 3);
    const read = target.read(0, 3);
    const found = target.seek(0, "hole");
    const written = source.write(0, Buffer.from("NEW"));
    const sourceRead = source.read(0, 3);
    assert.ok(sourceRead instanceof Uint8Array, "the source can be read meanwhile");
    assert.equal(Buffer.from(sourceRead).toString(), "new");
    await fileSystem.root.remove("source");
    assert.ok((await turnsOf(cloning)) >= chunks / 1024 - 1);
    assert.equal(Buffer.from(await read).toString(), "new");
    assert.equal(await found, PAGE);
    await written;
    assert.deepEqual([target.attributes().size, target.attributes().change > change], [size, true]);
    assert.equal(Buffer.from(await target.read(0, 3)).toString(), "new");
    assert.equal(Buffer.from(await target.read(size - 3, 4)).toString(), "new");
    assert.ok((await turnsOf(target.deallocate(0, size))) >= chunks / 1024 - 1);
    assert.equal(target.attributes().spaceUsed, 0);
    await fileSystem.root.remove("target");
    const { totalSpace, freeSpace } = fileSystem.statistics();
    const { totalSpace: totalOfEmpty, freeSpace: freeOfEmpty } = new MemoryFileSystem({
      capacity: 2 ** 30,
    }).statistics();
    assert.equal(totalSpace - freeSpace, totalOfEmpty - freeOfEmpty);
  });

  it("has no data left of what a truncation has cut off", () => {
    const content = new Content(() => {});
    content.write(2048, Buffer.of(1));
    content.truncate(0);
    content.write(4096, Buffer.of(1));
    assert.equal(content.seek(0, true), 4096);
  });

  it("takes what was reserved also when nothing else is left, and reserves all or nothing", () => {
    const capacity = 2 * CHUNK;
    const fileSystem = new MemoryFileSystem({ capacity });
    const { root } = fileSystem;
    const free = () => fileSystem.statistics().freeSpace;
    const noSpace = { status: Status.NOSPC };
    const file = root.createFile("file", ROOT, {});
    file.allocate(0, CHUNK + 1000);
    const before = free();
    assert.throws(() => file.allocate(0, 2 * CHUNK), noSpace);
    assert.throws(() => file.allocate(0, Number.MAX_SAFE_INTEGER), noSpace);
    assert.deepEqual([free(), file.attributes().size], [before, CHUNK + 1000]);

    let others = 0;
    assert.throws(() => {
      for (; others < capacity; others++) {
        root.createFile(`${others}`, ROOT, {});
      }
    }, noSpace);
    const left = free();
    for (let at = 0; at < CHUNK + 1000; at += 1000) {
      file.write(at, Buffer.alloc(Math.min(1000, CHUNK + 1000 - at), 1));
    }
    assert.equal(free(), left);
    for (const name of ["file", ...Array.from({ length: others }, (_, index) => `${index}`)]) {
      root.remove(name);
    }
    assert.equal(free(), capacity);
  });
});

describe("space_used", () => {
  it("is that of the pages which are written or reserved", async (t) => {
    const session = await (await serve(t)).session();
    const used = async (name: string, steps: (stateid: Buffer) => Step[]) => {
      const file = await openFile(session, name, { create: "unchecked" });
      const before: Step[] = [["PUTFH", handle(file.handle)], ...steps(file.stateid)];
      const changed = await session.call(before, { minorVersion: 2 });
      assert.equal(changed.status, Status.OK);
      const { reader } = await session.call([
        ["PUTFH", handle(file.handle)],
        [
          "GETATTR",
          (writer) => {
            writer.uint32(2);
            writer.uint32(0);
            writer.uint32(1 << (Attribute.SPACE_USED - 32));
          },
        ],
      ]);
      expectResult(reader, "PUTFH");
      expectResult(reader, "GETATTR");
      reader.skip(4 + 8 + 4);
      return reader.uint64();
    };
    const allocate =
      (length: number) =>
      (stateid: Buffer): Step[] => [
        [
          "ALLOCATE",
          (writer) => {
            writer.fixed(stateid);
            writer.uint64(0);
            writer.uint64(length);
          },
        ],
      ];
    assert.equal(await used("allocated", allocate(1_000_000)), 1960 * 512);
    assert.equal(await used("sparse", (stateid) => [write(stateid, 8192, Buffer.of(1))]), 4096);
    assert.equal(await used("sparse", allocate(4096)), 8192);
    assert.equal(await used("sparse", (stateid) => [write(stateid, 0, Buffer.of(1))]), 8192);
  });
});
