import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { test } from "node:test";
import { contentFor, get, openStore, storeFolder } from "./stores.ts";

const program = new URL("writing-process.ts", import.meta.url);

test("a process that is killed while it writes, again and again, leaves nothing wrong behind", async () => {
  await using folder = await storeFolder();
  let found = 0;
  for (let round = 0; round < 8; round++) {
    const writer = fork(program, [folder.path]);
    assert.deepEqual((await once(writer, "message"))[0], "open");
    for (let heard = 0; heard <= 3 * round; heard++) {
      await once(writer, "message");
    }
    writer.kill("SIGKILL");
    await once(writer, "exit");
    const store = await openStore(folder.path);
    for (let name = 0; name < 1000; name++) {
      const content = await get(store, `${name}`, 1000);
      if (content !== undefined) {
        found++;
        assert.deepEqual(content, contentFor(`${name}`, 1000));
      }
    }
    assert.equal(store.corruptEntries, 0);
    await store.close();
  }
  assert.ok(found > 0);
});

test("a store that another process uses is refused; once that is dead, it is taken over", async () => {
  await using folder = await storeFolder();
  const store = await openStore(folder.path);
  const refused = fork(program, [folder.path]);
  const [message] = await once(refused, "message");
  assert.match(String(message), /blobs is in use by another process/);
  await once(refused, "exit");
  await store.close();
  const writer = fork(program, [folder.path]);
  assert.deepEqual((await once(writer, "message"))[0], "open");
  await assert.rejects(openStore(folder.path), /in use by another process/);
  writer.kill("SIGKILL");
  await once(writer, "exit");
  await (await openStore(folder.path)).close();
});

test("a disk without room keeps nothing from being read, and what fitted is there", async () => {
  await using folder = await storeFolder();
  await (await openStore(folder.path)).close();
  // Nothing beyond 40 KiB can be written, as with a full disk.
  const limited = fork(new URL("full-disk-process.ts", import.meta.url), [folder.path], {
    execPath: "/bin/sh",
    execArgv: ["-c", `trap "" XFSZ; ulimit -f 80; exec "${process.execPath}" "$0" "$@"`],
  });
  const [outcome] = (await once(limited, "message")) as [{ kept: number; refused: number; right: number }];
  await once(limited, "exit");
  assert.ok(outcome.kept > 0 && outcome.refused > 0, JSON.stringify(outcome));
  assert.equal(outcome.right, outcome.kept);
  const store = await openStore(folder.path);
  assert.equal(store.count, outcome.kept);
  await store.close();
});
