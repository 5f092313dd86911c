import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { test } from "node:test";
import { setImmediate } from "node:timers/promises";
import { Distance } from "../../../bench/suite/distance.ts";
import { relay } from "../../../src/in-kernel/relay.ts";

const PIECES = Array.from({ length: 50 }, (_, index) => Buffer.alloc(1000, index));

/** What a client receives, through a relay, of the pieces that a server sends; `change` is called between them. */
async function received(distance: Distance, change: (index: number) => void = () => {}): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), "distance-"));
  try {
    const server = createServer((socket) => {
      for (const [index, piece] of PIECES.entries()) {
        change(index);
        socket.write(piece);
      }
      socket.end();
    }).listen(join(folder, "storage"));
    await once(server, "listening");
    const proxy = await relay({ path: join(folder, "near") }, { path: join(folder, "storage") }, () =>
      distance.line(),
    );
    const content = await buffer(connect(join(folder, "near")));
    proxy.close();
    server.close();
    return content;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a storage that is near, far away, or behind a thin line sends the same", async () => {
  for (const settings of [{}, { latencyMilliseconds: 20 }, { bytesPerSecond: 1e6 }]) {
    assert.deepEqual(await received(Object.assign(new Distance(), settings)), Buffer.concat(PIECES));
  }
});

test("what is sent while the distance shrinks does not overtake", async () => {
  const distance = Object.assign(new Distance(), { latencyMilliseconds: 30 });
  const shrink = (index: number) => {
    distance.latencyMilliseconds = Math.max(0, 30 - index);
  };
  assert.deepEqual(await received(distance, shrink), Buffer.concat(PIECES));
});

test("a piece comes after its latency, and no sooner", async (test) => {
  test.mock.timers.enable({ apis: ["setTimeout"] });
  const line = Object.assign(new Distance(), { latencyMilliseconds: 20 }).line();
  line.end(PIECES[1]);
  await setImmediate();
  test.mock.timers.tick(19);
  await setImmediate();
  assert.equal(line.read(), null);
  test.mock.timers.tick(1);
  assert.deepEqual(await buffer(line), PIECES[1]);
});
