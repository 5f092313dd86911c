/** The kernel's client and another one on the same files: what the server calls either of them for. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import { NfsMount, type NfsVersion } from "../../src/mount/index.ts";
import { MemoryFileSystem, NfsServer } from "../../src/nfs/index.ts";
import { Status } from "../../src/nfs/protocol/status.ts";
import { answerCallback, parseCallback } from "../unit/nfs/callback-client.ts";
import { expectResult, handle, openFile, TestConnection, TestSession } from "../unit/nfs/client.ts";
import { openDelegated } from "../unit/nfs/delegation.ts";
import { Dialogue } from "./dialogue.ts";

const inKernel = process.env.IN_KERNEL ? {} : { skip: "run it by npm run in-kernel" };
const CHANGE_AND_SIZE = (1 << 3) | (1 << 4);
const NO_DELEGATION_WANTED = 0x400;

describe("callbacks to the kernel's client", inKernel, () => {
  const work = mkdtempSync(join(tmpdir(), "nfs-delegations-"));
  const faults: unknown[] = [];
  const server = new NfsServer({
    fileSystem: new MemoryFileSystem({ rootMode: 0o777 }),
    delegations: true,
    onFault: (error) => faults.push(error),
  });
  let port = 0;
  let connection: TestConnection;
  let other: TestSession;

  before(async () => {
    port = await server.listen();
    connection = await TestConnection.open(port);
    other = await TestSession.create(connection, "other", 1, true);
  });
  after(async () => {
    connection.close();
    await server.close();
    rmSync(work, { recursive: true, force: true });
    assert.deepEqual(faults, []);
  });

  /** Opens the file for writing as soon as the kernel has given its delegation back. */
  async function openForWriting(
    file: string,
  ): Promise<{ stateid: Buffer; handle: Buffer; refusals: number }> {
    for (let refusals = 0; refusals < 200; refusals++) {
      const opened = await openFile(other, file, { access: 2 | NO_DELEGATION_WANTED });
      if (opened.status === Status.OK) {
        return { ...opened, refusals };
      }
      assert.equal(opened.status, Status.DELAY);
      // As a client does that is told to come again.
      await setTimeout(20);
    }
    assert.fail("the delegation was not returned");
  }

  async function size(file: Buffer): Promise<number> {
    const { reader, status } = await other.call([
      ["PUTFH", handle(file)],
      [
        "GETATTR",
        (writer) => {
          writer.uint32(1);
          writer.uint32(CHANGE_AND_SIZE);
        },
      ],
    ]);
    assert.equal(status, Status.OK);
    expectResult(reader, "PUTFH");
    expectResult(reader, "GETATTR");
    reader.skip(12 + 8);
    return reader.uint64();
  }

  for (const version of ["4.0", "4.1", "4.2"] as const satisfies readonly NfsVersion[]) {
    describe(`vers=${version}`, () => {
      let mount: NfsMount;

      before(async () => {
        const mountPath = join(work, `mount-${version}`);
        const mountOptions = ["cto", "acregmin=0", "acregmax=0"];
        mount = await NfsMount.mount({ port, serverPath: "/", mountPath, version, mountOptions });
      });
      after(() => mount.unmount());

      it("recall delegations when another client writes, whose data is then seen", async () => {
        const file = `read-${version}`;
        await using shell = Dialogue.shell(mount.path);
        await shell.ask(`echo before > ${file}; cat ${file}`);
        const returned = server.statistics().operations.DELEGRETURN ?? 0;
        assert.equal(await shell.ask(`exec 3< ${file}; cat ${file}`), "before");
        const opened = await openForWriting(file);
        assert.ok(opened.refusals > 0, "the kernel had no delegation");
        assert.ok((server.statistics().operations.DELEGRETURN ?? 0) > returned);
        const written = await other.call([
          ["PUTFH", handle(opened.handle)],
          [
            "WRITE",
            (writer) => {
              writer.fixed(opened.stateid);
              writer.uint64(0);
              writer.uint32(2);
              writer.latin1("behind\n");
            },
          ],
          [
            "CLOSE",
            (writer) => {
              writer.uint32(0);
              writer.fixed(opened.stateid);
            },
          ],
        ]);
        assert.equal(written.status, Status.OK);
        assert.equal(await shell.ask(`cat ${file}`), "behind");
        assert.equal(await shell.ask("cat <&3"), "behind", "the open has survived the recall");
      });

      it("ask the other client for the size of what it holds", async () => {
        const file = `held-${version}`;
        await openFile(other, file, { create: "unchecked", access: 1 | NO_DELEGATION_WANTED });
        await openDelegated(other, file, 3 | 0x200);
        let calls = 0;
        const answer = (message: Buffer) => {
          calls++;
          answerCallback(parseCallback(connection, message), Status.OK, (writer) => {
            for (const word of [1, CHANGE_AND_SIZE, 16, 0, 99, 0, 4321]) {
              writer.uint32(word);
            }
          });
        };
        connection.callbacks.on("call", answer);
        await using shell = Dialogue.shell(mount.path);
        assert.equal(await shell.ask(`stat -c %s ${file}`), "4321");
        assert.ok(calls > 0);
        connection.callbacks.off("call", answer);
      });
    });
  }

  it("ask for the size of what it has not written yet, vers=4.0", async () => {
    const mountPath = join(work, "writing");
    await using mount = await NfsMount.mount({ port, serverPath: "/", mountPath, version: "4.0" });
    await using shell = Dialogue.shell(mount.path);
    // An NFSv4.0 client gets no delegation with its very first open.
    await shell.ask("echo first > first; cat first");
    await shell.ask("> written; exec 3<> written; printf 12345 >&3; echo");
    const { handle: file } = await openFile(other, "first", { access: 1 | NO_DELEGATION_WANTED });
    assert.equal(await size(file), 6);
    const { reader } = await other.call([
      ["PUTROOTFH"],
      ["LOOKUP", (writer) => writer.latin1("written")],
      ["GETFH"],
    ]);
    expectResult(reader, "PUTROOTFH");
    expectResult(reader, "LOOKUP");
    expectResult(reader, "GETFH");
    const written = Buffer.from(reader.opaque(128));
    const writes = server.statistics().operations.WRITE ?? 0;
    assert.equal(await size(written), 5);
    assert.equal(
      server.statistics().operations.WRITE ?? 0,
      writes,
      "the kernel still has the data to itself",
    );
  });

  // Without the call the kernel would ask again after 30 s.
  it("tell of a lock that has become free, vers=4.1", { timeout: 20_000 }, async () => {
    const mountPath = join(work, "locking");
    await using mount = await NfsMount.mount({ port, serverPath: "/", mountPath, version: "4.1" });
    await using shell = Dialogue.shell(mount.path);
    const file = await openFile(other, "locked", { create: "unchecked", access: 3 | NO_DELEGATION_WANTED });
    const { reader, status } = await other.call([
      ["PUTFH", handle(file.handle)],
      [
        "LOCK",
        (writer) => {
          writer.uint32(2);
          writer.bool(false);
          writer.uint64(0);
          writer.uint64(10);
          writer.bool(true);
          writer.uint32(0);
          writer.fixed(file.stateid);
          writer.uint32(0);
          writer.fixed(other.clientid);
          writer.latin1("holder");
        },
      ],
    ]);
    assert.equal(status, Status.OK);
    expectResult(reader, "PUTFH");
    expectResult(reader, "LOCK");
    const lock = Buffer.from(reader.fixed(16));
    const locks = () => server.statistics().operations.LOCK ?? 0;
    const before = locks();
    const got = shell.ask("flock locked echo got");
    while (locks() === before) {
      await setTimeout(10);
    }
    const unlocked = await other.call([
      ["PUTFH", handle(file.handle)],
      [
        "LOCKU",
        (writer) => {
          writer.uint32(2);
          writer.uint32(0);
          writer.fixed(lock);
          writer.uint64(0);
          writer.uint64(10);
        },
      ],
    ]);
    assert.equal(unlocked.status, Status.OK);
    assert.equal(await got, "got");
  });
});
