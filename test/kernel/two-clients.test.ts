/** Two clients of one server: what one does, the other sees; and one goes on when the other is heard no more. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import type { NfsVersion } from "../../src/mount/index.ts";
import { NfsServer, type OperationName } from "../../src/nfs/index.ts";
import { Dialogue } from "./dialogue.ts";
import {
  compile,
  delegatesIn,
  type FileSystemName,
  type Files,
  inKernel,
  run,
  ServedFileSystem,
  sh,
} from "./mounted-file-systems.ts";
import { SeparateClient } from "./separate-client.ts";

const TURNS = 10;
const COUNTERS = 4;
const ROUNDS = 10;
const PROCESSES_PER_CLIENT = 2;

/** Long enough for a client that is heard on a busy machine: it renews after two thirds of it. */
const SHORT_LEASE_SECONDS = 6;

/** Each file system and each version, but not each with each: what holds between clients is in code that they share. */
const COMBINATIONS = [
  ["memory", "4.0"],
  ["memory", "4.2"],
  ["the worker's tree", "4.1"],
  ["the worker's tree", "4.2"],
] as const;

class TwoClients implements AsyncDisposable {
  readonly served: ServedFileSystem;
  readonly first: SeparateClient;
  readonly second: SeparateClient;
  /** A shell on the first one's mount. */
  readonly ofFirst = Dialogue.shell("/");
  readonly ofSecond = Dialogue.shell("/");
  readonly #stack: AsyncDisposableStack;

  private constructor(
    served: ServedFileSystem,
    first: SeparateClient,
    second: SeparateClient,
    stack: AsyncDisposableStack,
  ) {
    this.served = served;
    this.first = first;
    this.second = second;
    this.#stack = stack;
    stack.use(this.ofFirst);
    stack.use(this.ofSecond);
  }

  static async start(name: FileSystemName, version: NfsVersion, leaseSeconds?: number): Promise<TwoClients> {
    await using stack = new AsyncDisposableStack();
    // A gate would let nobody in again whose lease has run out.
    const settings = { gate: false, ...(leaseSeconds !== undefined && { leaseSeconds }) };
    const served = stack.use(await ServedFileSystem.start(name, version, settings));
    const first = stack.use(await SeparateClient.mount(served, "first"));
    const second = stack.use(await SeparateClient.mount(served, "second"));
    // Without state a client of 4.0 does not renew its lease, and may be forgotten by now.
    if (version !== "4.0") {
      assert.equal(served.server.statistics().clients, 2);
    }
    return new TwoClients(served, first, second, stack.move());
  }

  /** A new directory with these files, as each of them has it. */
  async directory(files: Files = {}): Promise<[ofFirst: string, ofSecond: string]> {
    const path = await this.served.makeDirectory(files);
    return [this.first.path(path), this.second.path(path)];
  }

  /** Takes both shells to a new directory with these files. */
  async enter(files: Files): Promise<void> {
    const [first, second] = await this.directory(files);
    await Promise.all([this.ofFirst.ask(`cd ${first}; echo`), this.ofSecond.ask(`cd ${second}; echo`)]);
  }

  count(operation: OperationName): number {
    return this.served.server.statistics().operations[operation] ?? 0;
  }

  /** How many delegations are held. */
  get delegations(): number {
    return NfsServer.contextOf(this.served.server).state.delegations;
  }

  /** Resolves when one of them has asked for this operation since it was counted. */
  async asked(operation: OperationName, counted: number): Promise<void> {
    while (this.count(operation) === counted) {
      await setTimeout(5);
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

describe("two clients", inKernel, () => {
  const folder = mkdtempSync(join(tmpdir(), "two-clients-"));
  let fileUser: string;

  before(async () => {
    fileUser = await compile(folder, "file-user", ["file-user.c"]);
  });
  after(() => rmSync(folder, { recursive: true, force: true }));

  /** A program that has the file open. */
  const use = async (directory: string, name: string): Promise<Dialogue> => {
    const user = new Dialogue(fileUser);
    assert.equal(await user.ask(`open ${directory}/${name}`), "ok");
    return user;
  };

  for (const [name, version] of COMBINATIONS) {
    describe(`${name}, vers=${version}`, () => {
      let clients: TwoClients;

      before(async () => {
        clients = await TwoClients.start(name, version);
      });
      after(() => clients[Symbol.asyncDispose]());

      it("see what the other has written and closed, and the names that it has made and removed", async () => {
        const { ofFirst, ofSecond } = clients;
        await clients.enter({ input: "before\n", other: "" });
        assert.equal(
          await ofFirst.ask("read line < input; echo new > new; echo after > input; echo $line"),
          "before",
        );
        assert.equal(
          await ofSecond.ask("seen=$(cat new input | xargs); truncate -s 3 input; echo $seen"),
          "new after",
        );
        assert.equal(await ofFirst.ask("chmod 751 input; echo $(<input) $(stat -c %s input)"), "aft 3");
        assert.equal(
          await ofSecond.ask("mode=$(stat -c %a input); mkdir made; mv new made; rm input; echo $mode"),
          "751",
        );
        assert.equal(
          await ofFirst.ask("names=$(echo * made/*); mv made/new moved; rmdir made; echo $names"),
          "made other made/new",
        );
        assert.equal(await ofSecond.ask("echo * $(<moved)"), "moved other new");
      });

      it("append to a file in turns", async () => {
        await clients.enter({ log: "" });
        const written: number[] = [];
        for (let turn = 0; turn < TURNS; turn++) {
          const shell = turn % 2 === 0 ? clients.ofFirst : clients.ofSecond;
          const lines = await shell.ask(`echo ${turn} >> log; mapfile -t lines < log; echo "\${lines[*]}"`);
          written.push(turn);
          assert.equal(lines, written.join(" "));
        }
      });

      it("lose no increment of counters that they lock", { timeout: 120_000 }, async () => {
        const directories = await clients.directory({ counters: Buffer.alloc(8 * COUNTERS) });
        // Unlike those of 4.1, clients of 4.0 are not told when a lock is free, and ask again after a second.
        const how = version === "4.0" ? "try" : "wait";
        const counting = directories.flatMap((directory) =>
          Array.from({ length: PROCESSES_PER_CLIENT }, () =>
            run(fileUser, ["count", join(directory, "counters"), String(COUNTERS), String(ROUNDS), how]),
          ),
        );
        for (const { status, errors } of await Promise.all(counting)) {
          assert.equal(status, 0, errors);
        }
        const total = String(2 * PROCESSES_PER_CLIENT * ROUNDS);
        for (const directory of directories) {
          const counters = await sh("od -An -v -w8 -t u8 counters", directory);
          assert.deepEqual(
            counters.split("\n").map((counter) => counter.trim()),
            Array(COUNTERS).fill(total),
          );
        }
      });

      it("exclude each other from locked ranges, until an unlock, a close, a death", async () => {
        const [first, second] = await clients.directory({ locked: "0123456789" });
        for (const end of ["unlock 0 5", "close", "kill"]) {
          await using holder = await use(first, "locked");
          await using waiter = await use(second, "locked");
          assert.equal(await holder.ask("lock 0 5"), "ok");
          assert.equal(await waiter.ask("try 4 1"), "EAGAIN");
          assert.equal(await waiter.ask("try 5 5"), "ok");
          assert.equal(await holder.ask("try 5 1"), "EAGAIN");
          const locks = clients.count("LOCK");
          const waiting = waiter.ask("lock 0 5");
          await clients.asked("LOCK", locks);
          if (end === "kill") {
            await holder.kill();
          } else {
            assert.equal(await holder.ask(end), "ok");
          }
          assert.equal(await waiting, "ok");
        }
      });

      if (delegatesIn(version)) {
        /** What the other does, and what is then found. */
        const changes = {
          writes: ["echo after >> file", "cat file | xargs", "before writes after"],
          truncates: [": > file", "stat -c %s file", "0"],
          "changes the mode": ["chmod 600 file", "stat -c %a file", "600"],
          removes: ["rm file", "echo *", "*"],
          renames: ["mv file elsewhere", "echo *", "elsewhere"],
          "replaces it": ["echo other > new; mv new file", "cat file", "other"],
        } as const;
        for (const [change, [script, look, found]] of Object.entries(changes)) {
          it(`have a delegation recalled when the other ${change}`, async () => {
            const { ofFirst, ofSecond } = clients;
            await clients.enter({ file: `before ${change}\n` });
            const held = clients.delegations;
            assert.equal(await ofFirst.ask("exec 3< file; read -n 3 -u 3; echo $REPLY"), "bef");
            assert.equal(clients.delegations, held + 1);
            const returned = clients.count("DELEGRETURN");
            await ofSecond.ask(`${script}; echo`);
            assert.ok(clients.count("DELEGRETURN") > returned);
            assert.equal(clients.delegations, held);
            assert.equal(await ofFirst.ask(`exec 3<&-; ${look}`), found);
          });
        }
      }
    });
  }

  // At the same time, since all of them wait for leases to run out.
  describe("of which one is not heard any more", { concurrency: true, timeout: 120_000 }, () => {
    for (const [name, version] of COMBINATIONS) {
      it(`go on when its lease has run out, as it does when it is back: ${name}, vers=${version}`, async () => {
        await using clients = await TwoClients.start(name, version, SHORT_LEASE_SECONDS);
        const { first, served } = clients;
        const files = { locked: "0", delegated: "before\n", opened: "open\n" };
        const [here, there] = await clients.directory(files);
        await using holder = await use(here, "locked");
        assert.equal(await holder.ask("lock 0 0"), "ok");
        const reader = clients.ofFirst;
        assert.equal(
          await reader.ask(`cd ${here}; exec 3< delegated 4< opened; read -n 3 -u 3; echo $REPLY`),
          "bef",
        );
        await using waiter = await use(there, "locked");
        assert.equal(await waiter.ask("try 0 0"), "EAGAIN");

        first.silence();
        const [got] = await Promise.all([
          waiter.ask("lock 0 0"),
          sh("echo after > delegated", there),
          sh("rm opened; echo new > opened", there),
        ]);
        assert.equal(got, "ok");
        assert.equal(await waiter.ask("write second's"), "ok");
        assert.equal(served.server.statistics().clients, 1);

        first.resume();
        assert.equal(await holder.ask("write first's"), "EIO", "it has lost its lock");
        assert.equal(await reader.ask("cat delegated opened | tr '\\n' ' '; echo"), "after new ");
        assert.equal(await reader.ask("exec 3<&- 4<&-; echo done > done; cat done"), "done");
        assert.equal(await sh("cat locked done", there), "second'sdone");
        assert.equal(await holder.ask("close"), "ok");
        assert.equal(await holder.ask(`open ${here}/locked`), "ok");
        assert.equal(await holder.ask("try 0 0"), "EAGAIN");
        assert.equal(await waiter.ask("unlock 0 0"), "ok");
        assert.equal(await holder.ask("lock 0 0"), "ok");
        assert.equal(await holder.ask("write first's again"), "ok");
        assert.equal(await holder.ask("close"), "ok");
        assert.equal(await waiter.ask("lock 0 0"), "ok");
        assert.equal(await waiter.ask("read"), "first's again");
        assert.equal(served.server.statistics().clients, 2);
      });
    }
  });
});
