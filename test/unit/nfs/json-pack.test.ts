/**
 * The NFSv4.0 client of `@jsonjoy.com/json-pack`: encoder, decoder and idea of the protocol are its authors'. Its file
 * system client opens files without SETCLIENTID and reads them without a filehandle, which RFC 7530 forbids; so what
 * needs an open goes through its compounds here, and the rest through its file system client.
 */
import assert from "node:assert/strict";
import { describe, it, type TestContext } from "node:test";
import { Nfsv4FsClient } from "@jsonjoy.com/json-pack/lib/nfs/v4/client/Nfsv4FsClient.js";
import { Nfsv4TcpClient } from "@jsonjoy.com/json-pack/lib/nfs/v4/client/Nfsv4TcpClient.js";
import * as jsonPack from "@jsonjoy.com/json-pack/lib/nfs/v4/index.js";
import { FileType, MemoryFileSystem } from "../../../src/nfs/index.ts";
import { Attribute } from "../../../src/nfs/protocol/attribute.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { arrayBuffersInUse } from "./array-buffers.ts";
import { serve } from "./fixture.ts";

const { nfs } = jsonPack;
type Request = jsonPack.Nfsv4Request;
type Stateid = jsonPack.Nfsv4Stateid;

const READ_LOCK = 1;
const WRITE_LOCK = 2;
const FILE_SYNC = 2;
const NEEDS_CONFIRM = 2;
const ANONYMOUS = nfs.Stateid(0, new Uint8Array(12));

async function connect(t: TestContext, port: number): Promise<Nfsv4TcpClient> {
  const client = new Nfsv4TcpClient({ host: "127.0.0.1", port, timeout: 5000 });
  await client.connect();
  t.after(() => client.close());
  return client;
}

async function start(t: TestContext) {
  const fileSystem = new MemoryFileSystem({ rootMode: 0o777 });
  const { port } = await serve(t, { fileSystem });
  const client = await connect(t, port);
  return { port, root: fileSystem.root, client, fs: new Nfsv4FsClient(client) };
}

/** What the last operation answered; the ones before it went well. */
async function last(client: Nfsv4TcpClient, ...operations: Request[]) {
  const { resarray } = await client.compound(operations);
  for (const { status } of resarray.slice(0, -1)) {
    assert.equal(status, Status.OK);
  }
  return resarray.at(-1)! as { status: number; resok?: never; denied?: never };
}

/** The result of the last operation, which must go well. */
async function result<T>(client: Nfsv4TcpClient, ...operations: Request[]): Promise<T> {
  const answer = await last(client, ...operations);
  assert.equal(answer.status, Status.OK);
  return answer.resok as T;
}

/** A client record, with one open owner. */
class Opener {
  readonly client: Nfsv4TcpClient;
  readonly clientid: bigint;
  readonly #name: string;
  #seqid = 0;

  private constructor(client: Nfsv4TcpClient, clientid: bigint, name: string) {
    this.client = client;
    this.clientid = clientid;
    this.#name = name;
  }

  static async create(client: Nfsv4TcpClient, name: string): Promise<Opener> {
    const identity = nfs.ClientId(nfs.Verifier(Buffer.from("verifier")), Buffer.from(name));
    const callback = nfs.CbClient(0, "tcp", "127.0.0.1.0.0");
    const made = await result<jsonPack.Nfsv4SetclientidResOk>(client, nfs.SETCLIENTID(identity, callback, 0));
    await result(client, nfs.SETCLIENTID_CONFIRM(made.clientid, made.setclientidConfirm));
    return new Opener(client, made.clientid, name);
  }

  get owner() {
    return nfs.OpenOwner(this.clientid, Buffer.from(this.#name));
  }

  get nextSeqid(): number {
    return this.#seqid++;
  }

  /** Opens a file of the root, confirms the owner where the server asks for it. */
  async open(name: string, how = nfs.OpenHowCreateUnchecked(), access = 3, deny = 0) {
    const { client } = this;
    const operation = nfs.OPEN(this.nextSeqid, access, deny, this.owner, how, nfs.OpenClaimNull(name));
    const { status, resarray } = await client.compound([nfs.PUTROOTFH(), operation, nfs.GETFH()]);
    if (status !== Status.OK) {
      return { status, handle: nfs.PUTROOTFH() as Request, stateid: ANONYMOUS };
    }
    const opened = (resarray[1] as jsonPack.Nfsv4OpenResponse).resok!;
    const handle = nfs.PUTFH((resarray[2] as jsonPack.Nfsv4GetfhResponse).resok!.object);
    let { stateid } = opened;
    if ((opened.rflags & NEEDS_CONFIRM) !== 0) {
      const confirm = nfs.OPEN_CONFIRM(stateid, this.nextSeqid);
      stateid = (await result<jsonPack.Nfsv4OpenConfirmResOk>(client, handle, confirm)).openStateid;
    }
    return { status, handle: handle as Request, stateid };
  }

  async close(handle: Request, stateid: Stateid): Promise<void> {
    await result(this.client, handle, nfs.CLOSE(this.nextSeqid, stateid));
  }
}

async function content(client: Nfsv4TcpClient, handle: Request, stateid: Stateid): Promise<string> {
  const read = await result<jsonPack.Nfsv4ReadResOk>(client, handle, nfs.READ(0n, 4096, stateid));
  assert.equal(read.eof, true);
  return Buffer.from(read.data).toString();
}

describe("the client of json-pack", () => {
  it("calls NULL, and is told of operations that there are not", async (t) => {
    const { client } = await start(t);
    await client.null();
    assert.equal((await last(client, nfs.ILLEGAL())).status, Status.OP_ILLEGAL);
    assert.equal((await last(client, nfs.GETFH())).status, Status.NOFILEHANDLE);
    assert.equal((await last(client, nfs.PUTROOTFH(), nfs.OPENATTR())).status, Status.NOTSUPP);
    assert.equal((await client.compound([], "tag", 9)).status, Status.MINOR_VERS_MISMATCH);
  });

  it("makes, lists, renames and removes directories", async (t) => {
    const { fs } = await start(t);
    await fs.mkdir("/a");
    await fs.mkdir("/a/b");
    assert.deepEqual(await fs.readdir("/"), ["a"]);
    assert.ok((await fs.stat("/a/b")).isDirectory());
    await assert.rejects(fs.mkdir("/a"), /17/);
    await assert.rejects(fs.rmdir("/a"), /66/);
    await fs.rename("/a/b", "/c");
    assert.deepEqual(await fs.readdir("/"), ["a", "c"]);
    await fs.rmdir("/a");
    await assert.rejects(fs.stat("/a"), /2/);
    const entries = (await fs.readdir("/", { withFileTypes: true })) as {
      name: unknown;
      isDirectory(): boolean;
    }[];
    assert.deepEqual(
      entries.map((entry) => [entry.name, entry.isDirectory()]),
      [["c", true]],
    );
  });

  it("makes links of both kinds", async (t) => {
    const { client, fs } = await start(t);
    const opener = await Opener.create(client, "client");
    const file = await opener.open("file");
    await opener.close(file.handle, file.stateid);
    await fs.link("/file", "/other name");
    assert.equal((await fs.stat("/file")).nlink, 2);
    assert.equal((await fs.stat("/other name")).ino, (await fs.stat("/file")).ino);
    await fs.symlink("../where", "/link");
    assert.equal(await fs.readlink("/link"), "../where");
    assert.ok((await fs.lstat("/link")).isSymbolicLink());
    await fs.unlink("/file");
    assert.equal((await fs.stat("/other name")).nlink, 1);
    assert.deepEqual(await fs.readdir("/"), ["other name", "link"]);
  });

  it("changes modes and times", async (t) => {
    const { client, fs } = await start(t);
    const opener = await Opener.create(client, "client");
    await opener.open("file");
    await fs.chmod("/file", 0o640);
    assert.equal(Number((await fs.stat("/file")).mode) & 0o7777, 0o640);
    await fs.utimes("/file", 1_000_000, 2_000_000);
    const { atimeMs, mtimeMs } = await fs.stat("/file");
    // It takes numbers for milliseconds.
    assert.deepEqual([atimeMs, mtimeMs], [1e6, 2e6]);
    await assert.rejects(fs.chown("/file", 5, 5), /\b1\b/);
    await fs.access("/file", 4);
  });

  it("writes, reads, truncates and keeps what it had open of a removed file", async (t) => {
    const { client } = await start(t);
    const opener = await Opener.create(client, "client");
    const { handle, stateid } = await opener.open("file");
    const written = await result<jsonPack.Nfsv4WriteResOk>(
      client,
      handle,
      nfs.WRITE(stateid, 0n, FILE_SYNC, Buffer.from("hello, world")),
    );
    assert.deepEqual([written.count, written.committed], [12, FILE_SYNC]);
    const committed = await result<jsonPack.Nfsv4CommitResOk>(client, handle, nfs.COMMIT(0n, 0));
    assert.deepEqual(committed.writeverf, written.writeverf);
    assert.equal(await content(client, handle, stateid), "hello, world");
    const size = Buffer.alloc(8);
    size.writeBigUInt64BE(5n);
    await last(client, handle, nfs.SETATTR(stateid, nfs.Fattr([Attribute.SIZE], size)));
    assert.equal(await content(client, handle, stateid), "hello");
    await result(client, handle, nfs.WRITE(stateid, 2n ** 52n, FILE_SYNC, Buffer.from("far")));
    const far = await result<jsonPack.Nfsv4ReadResOk>(client, handle, nfs.READ(2n ** 52n - 1n, 10, stateid));
    assert.deepEqual([far.eof, Buffer.from(far.data).toString()], [true, "\0far"]);
    await result(client, nfs.PUTROOTFH(), nfs.REMOVE("file"));
    await result(client, handle, nfs.READ(0n, 5, stateid));
    await opener.close(handle, stateid);
    assert.equal((await last(client, handle, nfs.READ(0n, 5, stateid))).status, Status.STALE);
  });

  it("compares attributes", async (t) => {
    const { client } = await start(t);
    const size = (value: bigint) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64BE(value);
      return nfs.Fattr([Attribute.SIZE], bytes);
    };
    const { handle } = await (await Opener.create(client, "client")).open("file");
    assert.equal((await last(client, handle, nfs.VERIFY(size(0n)))).status, Status.OK);
    assert.equal((await last(client, handle, nfs.VERIFY(size(1n)))).status, Status.NOT_SAME);
    assert.equal((await last(client, handle, nfs.NVERIFY(size(0n)))).status, Status.SAME);
    assert.equal((await last(client, handle, nfs.NVERIFY(size(1n)))).status, Status.OK);
  });

  it("opens as the share reservations allow, and gives them back", async (t) => {
    const { client, port } = await start(t);
    const one = await Opener.create(client, "one");
    const other = await Opener.create(await connect(t, port), "other");
    const denying = await one.open("file", nfs.OpenHowCreateGuarded(), 3, 2);
    assert.equal(denying.status, Status.OK);
    assert.equal((await other.open("file", nfs.OpenHowCreateGuarded())).status, Status.EXIST);
    assert.equal((await other.open("file", nfs.OpenHowNoCreate(), 2)).status, Status.SHARE_DENIED);
    const reading = await other.open("file", nfs.OpenHowNoCreate(), 1);
    assert.equal(reading.status, Status.OK);
    await one.close(denying.handle, denying.stateid);
    assert.equal((await other.open("file", nfs.OpenHowNoCreate(), 2)).status, Status.OK);
    const verifier = nfs.OpenHowCreateExclusive(nfs.Verifier(Buffer.from("12345678")));
    assert.equal((await one.open("once", verifier)).status, Status.OK);
    assert.equal((await one.open("once", verifier)).status, Status.OK);
    const another = nfs.OpenHowCreateExclusive(nfs.Verifier(Buffer.from("87654321")));
    assert.equal((await one.open("once", another)).status, Status.EXIST);
  });

  it("locks ranges that others then do not get", async (t) => {
    const { client, port } = await start(t);
    const one = await Opener.create(client, "one");
    const other = await Opener.create(await connect(t, port), "other");
    const { handle, stateid } = await one.open("file");
    const owner = nfs.LockOwner(one.clientid, Buffer.from("lock owner"));
    const lock = nfs.LOCK(
      WRITE_LOCK,
      false,
      10n,
      2n ** 63n,
      nfs.NewLockOwner(one.nextSeqid, stateid, 0, owner),
    );
    const locked = await result<jsonPack.Nfsv4LockResOk>(client, handle, lock);
    const stranger = nfs.LockOwner(other.clientid, Buffer.from("stranger"));
    const denied = await last(other.client, handle, nfs.LOCKT(READ_LOCK, 15n, 1n, stranger));
    assert.equal(denied.status, Status.DENIED);
    const range = denied.denied as unknown as jsonPack.Nfsv4LockResDenied;
    assert.deepEqual([range.offset, range.length, range.locktype], [10n, 2n ** 63n, WRITE_LOCK]);
    assert.equal(
      (await last(other.client, handle, nfs.LOCKT(WRITE_LOCK, 0n, 10n, stranger))).status,
      Status.OK,
    );
    const unlock = nfs.LOCKU(WRITE_LOCK, 1, locked.lockStateid, 10n, 2n ** 63n);
    await result(client, handle, unlock);
    assert.equal(
      (await last(other.client, handle, nfs.LOCKT(READ_LOCK, 15n, 1n, stranger))).status,
      Status.OK,
    );
    assert.equal((await last(client, nfs.RELEASE_LOCKOWNER(owner))).status, Status.OK);
    assert.equal((await last(client, nfs.RENEW(one.clientid))).status, Status.OK);
    assert.equal((await last(client, nfs.RENEW(one.clientid + 100n))).status, Status.STALE_CLIENTID);
  });

  it("gets the same result for an owner's request that it sends again", async (t) => {
    const { client } = await start(t);
    const opener = await Opener.create(client, "client");
    const { handle, stateid } = await opener.open("file");
    const close = nfs.CLOSE(opener.nextSeqid, stateid);
    const first = await result<jsonPack.Nfsv4CloseResOk>(client, handle, close);
    assert.equal(first.openStateid.seqid, stateid.seqid + 1);
    assert.deepEqual(await result<jsonPack.Nfsv4CloseResOk>(client, handle, close), first);
    assert.equal((await last(client, handle, nfs.CLOSE(99, stateid))).status, Status.BAD_SEQID);
    // A request that fails so leaves the seqid to the next one.
    const seqid = opener.nextSeqid;
    const again = nfs.OPEN(seqid, 3, 0, opener.owner, nfs.OpenHowNoCreate(), nfs.OpenClaimNull("file"));
    assert.equal((await last(client, again)).status, Status.NOFILEHANDLE);
    assert.equal((await last(client, nfs.PUTROOTFH(), again)).status, Status.OK);
  });

  it("leaves no content of removed files in what is kept for a retry", async (t) => {
    const { root, client, fs } = await start(t);
    const content = Buffer.alloc(256 * 1024, 1);
    const before = arrayBuffersInUse();
    for (let index = 0; index < 24; index++) {
      const opener = await Opener.create(client, `owner ${index}`);
      const { handle, stateid } = await opener.open(`${index}`);
      const file = root.lookup(`${index}`);
      assert.ok(file?.type === FileType.REGULAR);
      file.write(0, content);
      await opener.close(handle, stateid);
      await fs.unlink(`/${index}`);
    }
    const left = arrayBuffersInUse() - before;
    assert.ok(left < 2 ** 20, `${left} bytes are still in use`);
  });

  it("lists a directory in pieces", async (t) => {
    const { client, fs } = await start(t);
    for (let index = 0; index < 50; index++) {
      await fs.mkdir(`/directory ${index}`);
    }
    const names: string[] = [];
    let cookie = 0n;
    let eof = false;
    while (!eof) {
      const list = nfs.READDIR([1 << Attribute.TYPE], new Uint8Array(8), cookie, 512, 512);
      const page = await result<jsonPack.Nfsv4ReaddirResOk>(client, nfs.PUTROOTFH(), list);
      assert.ok(page.entries.length > 0 && page.entries.length < 50);
      names.push(...page.entries.map(({ name }) => name));
      cookie = page.entries.at(-1)!.cookie;
      eof = page.eof;
    }
    assert.deepEqual(
      names,
      Array.from({ length: 50 }, (_, index) => `directory ${index}`),
    );
  });
});
