/** What examples/nfs4-server and docs/nfs4-server-ts.md show. */
import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, it, type TestContext } from "node:test";
import { greetings } from "../../../examples/nfs4-server/greetings.ts";
import { Status } from "../../../src/nfs/protocol/status.ts";
import { expectResult, name, openFile, type Step, TestConnection, TestSession } from "./client.ts";
import { serve } from "./fixture.ts";
import { read } from "./steps.ts";

const REPOSITORY = path.resolve(import.meta.dirname, "../../..");

function example(
  t: TestContext,
  ...options: string[]
): { child: ChildProcess; output: () => Promise<string> } {
  const main = path.join(REPOSITORY, "examples/nfs4-server/main.ts");
  const child = spawn(process.execPath, [main, ...options], { stdio: ["ignore", "pipe", "inherit"] });
  t.after(() => child.kill("SIGKILL"));
  return { child, output: async () => String((await once(child.stdout!, "data"))[0]) };
}

describe("the example server", () => {
  it("explains itself", async (t) => {
    const { output } = example(t, "--help");
    assert.match(await output(), /^Usage: .*--port PORT.*--gate/s);
  });

  it("says how to mount it, serves, and ends with SIGINT", async (t) => {
    const { child, output } = example(t);
    const [, port] = /port=(\d+),/.exec(await output())!;
    const connection = await TestConnection.open(Number(port));
    const session = await TestSession.create(connection);
    assert.equal((await openFile(session, "file", { create: "unchecked" })).status, Status.OK);
    connection.close();
    const exited = once(child, "exit");
    child.kill("SIGINT");
    assert.deepEqual(await exited, [0, null]);
  });

  it("lets in with --gate who has the name", async (t) => {
    const { output } = example(t, "--gate", "--any-port");
    const [, port, secret] = /port=(\d+),.*:\/(\S+) /.exec(await output())!;
    const connection = await TestConnection.open(Number(port));
    t.after(() => connection.close());
    const session = await TestSession.create(connection);
    assert.equal((await openFile(session, "file", { create: "unchecked" })).status, Status.ROFS);
    assert.equal((await session.call([["PUTROOTFH"], ["LOOKUP", name(secret!)]])).status, Status.OK);
  });
});

describe("the example of a file system", () => {
  it("is listed, read and not written", async (t) => {
    const { session: start } = await serve(t, { fileSystem: greetings(["Alice", "Bob"]) });
    const session = await start();
    const list: Step = [
      "READDIR",
      (writer) => {
        for (const word of [0, 0, 0, 0, 4096, 4096, 0]) {
          writer.uint32(word);
        }
      },
    ];
    const listed = await session.call([["PUTROOTFH"], list]);
    expectResult(listed.reader, "PUTROOTFH");
    expectResult(listed.reader, "READDIR");
    listed.reader.skip(8);
    const names: string[] = [];
    while (listed.reader.bool()) {
      listed.reader.skip(8);
      names.push(listed.reader.latin1(255));
      listed.reader.skip(8);
    }
    assert.deepEqual(names, ["Alice", "Bob"]);
    const { stateid } = await openFile(session, "Bob", { access: 1 });
    const { reader } = await session.call([["PUTROOTFH"], ["LOOKUP", name("Bob")], read(stateid, 0, 100)]);
    for (const step of ["PUTROOTFH", "LOOKUP", "READ"] as const) {
      expectResult(reader, step);
    }
    assert.equal(reader.bool(), true);
    assert.equal(reader.latin1(100), "Hello, Bob!\n");
    for (const [file, options] of [
      ["Bob", { access: 2 }],
      ["Carol", { create: "unchecked" }],
    ] as const) {
      assert.notEqual((await openFile(session, file, options)).status, Status.OK);
    }
    assert.equal((await session.call([["PUTROOTFH"], ["REMOVE", name("Bob")]])).status, Status.ROFS);
  });

  it("is what the guide shows", () => {
    const guide = readFileSync(path.join(REPOSITORY, "docs/nfs4-server-ts.md"), "utf8");
    const source = readFileSync(path.join(REPOSITORY, "examples/nfs4-server/greetings.ts"), "utf8");
    const shown = /```ts\n(class Greeting.*?)```/s.exec(guide)?.[1];
    assert.ok(shown !== undefined && source.includes(shown));
  });
});
