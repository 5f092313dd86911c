import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { describe, it } from "node:test";
import fc from "fast-check";
import { helperPath } from "../../../src/native/helper.ts";
import { encodeMessage, list, MessageDecoder } from "../../../src/native/message.ts";
import { HelperProcess } from "../../../src/runner/spawn/helper-process.ts";

const strings = fc.array(
  fc.string({ unit: "binary" }).map((text) => Buffer.from(text.replaceAll("\0", "")).toString()),
  { minLength: 1 },
);

describe("a message", () => {
  it("arrives as it was sent, however the stream is cut", () => {
    fc.assert(
      fc.property(fc.array(strings), fc.array(fc.nat(40)), (messages, cuts) => {
        const stream = Buffer.concat(messages.map((message) => encodeMessage(message)));
        const decoder = new MessageDecoder();
        const received: string[][] = [];
        let from = 0;
        for (const cut of [...cuts, stream.length]) {
          received.push(...decoder.push(stream.subarray(from, from + cut)));
          from += cut;
        }
        assert.deepEqual(received, messages);
      }),
    );
  });

  it("is refused if a string would end early", () => {
    assert.throws(() => encodeMessage(["a", "b\0c"]), RangeError);
    assert.throws(() => encodeMessage(["x".repeat(65 * 2 ** 20)]), RangeError);
    assert.deepEqual(list(["a", "b"]), [2, "a", "b"]);
  });

  it("of impossible size is refused, not waited for", () => {
    for (const bytes of [
      [0, 0, 0, 0],
      [255, 255, 255, 255],
      [1, 0, 0, 0, 65],
    ]) {
      assert.throws(() => new MessageDecoder().push(Buffer.from(bytes)));
    }
  });
});

/** Exit status and output of a helper that is given these bytes and then the end of its input. */
async function feed(helper: "bb_spawn" | "bb_mount", bytes: Uint8Array) {
  const child = spawn(helperPath(helper), [], { stdio: ["pipe", "pipe", "pipe"], env: {} });
  const output: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stderr.resume();
  child.stdin.on("error", () => {});
  child.stdin.end(bytes);
  const [code, signal] = await once(child, "close");
  return { code, signal, output: Buffer.concat(output) };
}

describe("helpers that are sent nonsense", () => {
  const word = fc.constantFrom(
    "run",
    "check",
    "mount",
    "unmount",
    "sync",
    "0",
    "1",
    "2",
    "-1",
    "",
    "/nonexistent",
    "x",
  );
  const requests = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.array(word, { minLength: 1, maxLength: 16 }).map((words) => encodeMessage(words)),
    fc.array(word, { minLength: 1, maxLength: 16 }).map((words) => encodeMessage(words).subarray(0, -1)),
    fc.array(word, { maxLength: 16 }).map((words) => encodeMessage(["1", "begin", ...words])),
  );

  for (const helper of ["bb_spawn", "bb_mount"] as const) {
    it(`${helper} does nothing, and ends`, async () => {
      await fc.assert(
        fc.asyncProperty(requests, async (bytes) => {
          const { signal, output } = await feed(helper, bytes);
          assert.equal(signal, null);
          /* A well-formed request whose input ends is cancelled: killed, if it has not failed before. */
          for (const [, verb, code] of new MessageDecoder().push(output)) {
            if (verb === "exited") {
              assert.equal(code, "-1");
            }
          }
        }),
        { numRuns: 200 },
      );
    });
  }

  it("bb_spawn refuses lists that are longer than the message", async () => {
    const helper = new HelperProcess();
    const run = ["run", "/", ".", "", "o", "e", 0];
    for (const rest of [
      [0, 0, 99, "a"],
      [0, 0, "18446744073709551615", "a"],
      [1, 1, 1, 4294967295],
      [0, "18446744073709551615", 0],
      [0, 0, 1, "true", 0, "more"],
      [0, 0, 0, 0],
    ]) {
      const { signal } = new AbortController();
      await assert.rejects(helper.ask([...run, ...rest], signal, 1000), /exit code 2/, JSON.stringify(rest));
    }
    await helper.close();
  });

  it("bb_mount answers each request by its number", async (test) => {
    if (spawnSync("unshare", ["-m", "true"]).status !== 0) {
      return test.skip("needs root");
    }
    const child = spawn(helperPath("bb_mount"), [], { stdio: ["pipe", "pipe", "inherit"] });
    const decoder = new MessageDecoder();
    child.stdin.write(encodeMessage(["7", "unmount", "/nonexistent", "1"]));
    child.stdin.write(encodeMessage(["8", "sync", "/nonexistent", "1"]));
    const replies: string[][] = [];
    for await (const chunk of child.stdout) {
      replies.push(...decoder.push(chunk));
      if (replies.length === 2) {
        child.stdin.end();
      }
    }
    const ENOENT = "2";
    assert.deepEqual(replies.map(([id, errno]) => [id, errno]).sort(), [
      ["7", ENOENT],
      ["8", ENOENT],
    ]);
  });
});
