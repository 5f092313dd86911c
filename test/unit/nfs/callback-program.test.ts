import assert from "node:assert/strict";
import { EventEmitter, once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { describe, it, type TestContext } from "node:test";
import fc from "fast-check";
import { portAt } from "../../../src/nfs/callback/universal-address.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { RecordReader } from "../../../src/xdr/index.ts";
import {
  answerCallback,
  CallbackOperation,
  type CallbackRequest,
  parseCallback,
  type Replier,
} from "./callback-client.ts";
import { expectResult, handle, type Step, type TestConnection } from "./client.ts";
import { DelegationType, readDelegation } from "./delegation.ts";
import { type Fixture, serve } from "./fixture.ts";

const MINOR_0 = { minorVersion: 0 };
const PROGRAM = 0x4000_0042;
const IDENT = 77;
const ACCEPTED = [1, 0, 0, 0, 0];

function words(...values: number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  values.forEach((value, index) => {
    bytes.writeUInt32BE(value >>> 0, 4 * index);
  });
  return bytes;
}

/** A client's callback program: answers CB_NULL, and emits "call" with each CB_COMPOUND, "probe", "disconnected". */
class TestProgram extends EventEmitter<{ call: [CallbackRequest]; probe: []; disconnected: [] }> {
  connections = 0;
  answersProbes = true;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor() {
    super();
    this.#server = createServer((socket) => this.#accept(socket));
  }

  static async listen(t: TestContext): Promise<TestProgram> {
    const program = new TestProgram();
    program.#server.listen(0, "127.0.0.1");
    await once(program.#server, "listening");
    t.after(() => program.close());
    return program;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  drop(): void {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
  }

  close(): void {
    this.drop();
    this.#server.close();
  }

  async nextCall(): Promise<CallbackRequest> {
    const [call] = (await once(this, "call")) as [CallbackRequest];
    return call;
  }

  #accept(socket: Socket): void {
    this.connections++;
    this.#sockets.add(socket);
    socket.on("close", () => {
      this.#sockets.delete(socket);
      this.emit("disconnected");
    });
    socket.on("error", () => {});
    const replier: Replier = {
      send: (xid, message) => {
        socket.write(Buffer.concat([words(0x8000_0000 | (message.length + 4), xid), message]));
      },
    };
    const records = new RecordReader(1 << 16, (buffer, _view, start, end) => {
      const record = Buffer.from(buffer.subarray(start, end));
      assert.equal(record.readUInt32BE(12), PROGRAM);
      if (record.readUInt32BE(20) === 0) {
        if (this.answersProbes) {
          replier.send(record.readUInt32BE(0), words(...ACCEPTED));
        }
        this.emit("probe");
      } else {
        this.emit("call", parseCallback(replier, record));
      }
      return true;
    });
    socket.on("data", (chunk: Buffer) => records.push(chunk));
  }
}

/** An NFSv4.0 client with one open owner. */
class Client {
  readonly connection: TestConnection;
  readonly clientid: Buffer;
  #seqid = 0;

  private constructor(connection: TestConnection, clientid: Buffer) {
    this.connection = connection;
    this.clientid = clientid;
  }

  /** `port`: where its callback program is said to be. */
  static async create(
    { connect }: Fixture,
    name: string,
    port: number,
    host = "127.0.0.1",
    verifier = 1,
  ): Promise<Client> {
    const connection = await connect();
    const set = await connection.compound(
      [
        [
          "SETCLIENTID",
          (writer) => {
            writer.uint64(verifier);
            writer.latin1(name);
            writer.uint32(PROGRAM);
            writer.latin1("tcp");
            writer.latin1(`${host}.${port >> 8}.${port & 255}`);
            writer.uint32(IDENT);
          },
        ],
      ],
      MINOR_0,
    );
    expectResult(set.reader, "SETCLIENTID");
    const confirm = Buffer.from(set.reader.fixed(16));
    const confirmed = await connection.compound(
      [["SETCLIENTID_CONFIRM", (writer) => writer.fixed(confirm)]],
      MINOR_0,
    );
    assert.equal(confirmed.status, Status.OK);
    return new Client(connection, confirm.subarray(0, 8));
  }

  async status(...steps: Step[]): Promise<number> {
    return (await this.connection.compound(steps, MINOR_0)).status;
  }

  async renew(): Promise<number> {
    return this.status(["RENEW", (writer) => writer.fixed(this.clientid)]);
  }

  /** OPEN in the root, and OPEN_CONFIRM where it is the first. */
  async open(file: string, access: number, create = false) {
    const { reader, status } = await this.connection.compound(
      [
        ["PUTROOTFH"],
        [
          "OPEN",
          (writer) => {
            writer.uint32(this.#seqid++);
            writer.uint32(access);
            writer.uint32(0);
            writer.fixed(this.clientid);
            writer.latin1("owner");
            writer.uint32(create ? 1 : 0);
            if (create) {
              for (const word of [0, 0, 0]) {
                writer.uint32(word);
              }
            }
            writer.uint32(0);
            writer.latin1(file);
          },
        ],
        ["GETFH"],
      ],
      MINOR_0,
    );
    if (status !== Status.OK) {
      return { status, delegation: undefined, file: Buffer.alloc(0) };
    }
    expectResult(reader, "PUTROOTFH");
    expectResult(reader, "OPEN");
    const stateid = Buffer.from(reader.fixed(16));
    reader.skip(20);
    const confirm = (reader.uint32() & 2) !== 0;
    reader.skip(4 * reader.length(3));
    const delegation = readDelegation(reader);
    expectResult(reader, "GETFH");
    const opened = Buffer.from(reader.opaque(128));
    if (confirm) {
      const confirmed = await this.status(
        ["PUTFH", handle(opened)],
        [
          "OPEN_CONFIRM",
          (writer) => {
            writer.fixed(stateid);
            writer.uint32(this.#seqid++);
          },
        ],
      );
      assert.equal(confirmed, Status.OK);
    }
    return { status, delegation, file: opened };
  }

  async returnDelegation(file: Buffer, stateid: Buffer): Promise<number> {
    return this.status(["PUTFH", handle(file)], ["DELEGRETURN", (writer) => writer.fixed(stateid)]);
  }
}

/** A client whose program has been probed, and which has an open of "file" that is confirmed. */
async function start(t: TestContext) {
  const fixture = await serve(t, { delegations: true });
  const program = await TestProgram.listen(t);
  const probed = once(program, "probe");
  const holder = await Client.create(fixture, "holder", program.port);
  await probed;
  // The reply to the probe travels by another connection than this request.
  await awaitPath(holder);
  return { fixture, program, holder };
}

/** Opens new files until a delegation comes with one. */
async function awaitPath(client: Client): Promise<void> {
  for (let attempt = 0; attempt < 1000; attempt++) {
    const { delegation, file } = await client.open("probed", 1, attempt === 0);
    if (delegation!.type === DelegationType.NONE) {
      continue;
    }
    assert.equal(await client.returnDelegation(file, delegation!.stateid), Status.OK);
    return;
  }
  assert.fail("no delegation");
}

describe("the callbacks of an NFSv4.0 client", () => {
  it("come to the program of SETCLIENTID, by its callback_ident", async (t) => {
    const { fixture, program, holder } = await start(t);
    const { delegation, file } = await holder.open("file", 1, true);
    assert.equal(delegation?.type, DelegationType.READ);
    const other = await Client.create(fixture, "other", 1);
    const called = program.nextCall();
    assert.equal((await other.open("file", 2)).status, Status.DELAY);
    const call = await called;
    assert.deepEqual([call.operation, call.minorVersion, call.ident], [CallbackOperation.RECALL, 0, IDENT]);
    assert.deepEqual(call.reader.fixed(16), delegation.stateid);
    answerCallback(call, Status.OK);
    assert.equal(await holder.returnDelegation(file, delegation.stateid), Status.OK);
    assert.equal((await other.open("file", 2)).status, Status.OK);
    assert.equal(program.connections, 1);
  });

  it("ask the holder of a WRITE delegation for the attributes, but not for its own request", async (t) => {
    const { fixture, program, holder } = await start(t);
    const { delegation, file } = await holder.open("file", 3, true);
    assert.equal(delegation?.type, DelegationType.WRITE);
    const size = async (client: Client) => {
      const { reader, status } = await client.connection.compound(
        [
          ["PUTFH", handle(file)],
          [
            "GETATTR",
            (writer) => {
              writer.uint32(1);
              writer.uint32(1 << 4);
            },
          ],
        ],
        MINOR_0,
      );
      assert.equal(status, Status.OK);
      expectResult(reader, "PUTFH");
      expectResult(reader, "GETATTR");
      reader.skip(12);
      return reader.uint64();
    };
    assert.equal(await size(holder), 0);
    const other = await Client.create(fixture, "other", 1);
    const called = program.nextCall();
    const seen = size(other);
    const call = await called;
    assert.deepEqual([call.operation, call.ident], [CallbackOperation.GETATTR, IDENT]);
    answerCallback(call, Status.OK, (writer) => {
      for (const word of [1, 0x18, 16, 0, 9, 0, 1234]) {
        writer.uint32(word);
      }
    });
    assert.equal(await seen, 1234);
  });

  it("go out again on a new connection", async (t) => {
    const { fixture, program, holder } = await start(t);
    await holder.open("file", 1, true);
    const other = await Client.create(fixture, "other", 1);
    const called = program.nextCall();
    assert.equal((await other.open("file", 2)).status, Status.DELAY);
    const first = await called;
    const again = program.nextCall();
    program.drop();
    assert.equal((await again).xid, first.xid);
    assert.equal(program.connections, 2);
  });

  it("are none without a program that answers, and RENEW tells who holds a delegation", async (t) => {
    const { fixture, program, holder } = await start(t);
    await holder.open("file", 1, true);
    assert.equal(await holder.renew(), Status.OK);
    program.close();
    const other = await Client.create(fixture, "other", 1);
    assert.equal((await other.open("file", 2)).status, Status.DELAY);
    let status = await holder.renew();
    for (let attempt = 0; attempt < 1000 && status === Status.OK; attempt++) {
      status = await holder.renew();
    }
    assert.equal(status, Status.CB_PATH_DOWN);
    assert.equal((await holder.open("another", 1, true)).delegation?.type, DelegationType.NONE);
  });

  it("are none while the program is silent, which is tried once more", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const fixture = await serve(t, { delegations: true });
    const program = await TestProgram.listen(t);
    program.answersProbes = false;
    const first = once(program, "probe");
    const client = await Client.create(fixture, "holder", program.port);
    await first;
    const second = once(program, "probe");
    t.mock.timers.tick(5000);
    await second;
    const given = once(program, "disconnected");
    t.mock.timers.tick(5000);
    await given;
    await client.open("file", 1, true);
    assert.equal((await client.open("file", 1)).delegation?.type, DelegationType.NONE);
    assert.equal(program.connections, 2);
    program.answersProbes = true;
    const third = once(program, "probe");
    assert.equal(await client.renew(), Status.OK);
    await third;
    await awaitPath(client);
  });

  it("end with the client's record, and with the server", async (t) => {
    const { fixture, program } = await start(t);
    const restarted = once(program, "disconnected");
    const probed = once(program, "probe");
    await Client.create(fixture, "holder", program.port, "127.0.0.1", 2);
    await restarted;
    await probed;
    const closed = once(program, "disconnected");
    await fixture.server.close();
    await closed;
  });

  it("are not asked of a program at another host", async (t) => {
    const fixture = await serve(t, { delegations: true });
    const program = await TestProgram.listen(t);
    const client = await Client.create(fixture, "client", program.port, "127.0.0.2");
    await client.open("file", 1, true);
    assert.equal((await client.open("file", 1)).delegation?.type, DelegationType.NONE);
    assert.equal(program.connections, 0);
  });

  it("take any bytes for a reply without harm", async (t) => {
    const { fixture, program, holder } = await start(t);
    const other = await Client.create(fixture, "other", 1);
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.nat(12), fc.integer({ min: 0, max: 0xffff_ffff })), { maxLength: 16 }),
        fc.boolean(),
        async (values, accepted) => {
          await awaitPath(holder);
          const name = `file ${run++}`;
          assert.equal((await holder.open(name, 1, true)).delegation?.type, DelegationType.READ);
          const called = program.nextCall();
          assert.equal((await other.open(name, 2)).status, Status.DELAY);
          const { connection, xid } = await called;
          connection.send(xid, words(...(accepted ? ACCEPTED : [1]), ...values));
          assert.equal(await other.renew(), Status.OK);
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe("a universal address", () => {
  it("gives the port where the host is the expected one", () => {
    assert.equal(portAt("127.0.0.1", "tcp", "127.0.0.1.3.7"), 775);
    assert.equal(portAt("::1", "tcp6", "0:0:0:0:0:0:0:1.255.255"), 65535);
    for (const [netid, address] of [
      ["tcp", "127.0.0.2.3.7"],
      ["udp", "127.0.0.1.3.7"],
      ["tcp6", "127.0.0.1.3.7"],
      ["tcp", "127.0.0.1.0.0"],
      ["tcp", "127.0.0.1.256.7"],
      ["tcp", "127.0.0.1"],
      ["tcp", "localhost.3.7"],
      ["tcp", ""],
    ] as const) {
      assert.equal(portAt("127.0.0.1", netid, address), undefined, `${netid} ${address}`);
    }
  });

  it("can be any text", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), fc.string(), (host, netid, address) => {
        assert.equal(portAt(host, netid, address), undefined);
      }),
    );
  });
});
