import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { it } from "node:test";
import { messagesOfHelpers } from "./c-messages.ts";
import { messagesOf } from "./messages.ts";

const document = readFileSync(join(import.meta.dirname, "../../../docs/troubleshoot.md"), "utf8");

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

/** A pattern's "…" is anything. */
function matcher(pattern: string): RegExp {
  return new RegExp(`^${pattern.split("…").map(escaped).join(".*")}$`, "su");
}

const patterns = [...document.matchAll(/^```text\n(.*?)^```$/gmsu)].flatMap(([, lines]) =>
  lines!.trimEnd().split("\n"),
);
const folders = [...document.matchAll(/^<!-- messages of (.*) -->$/gm)].flatMap(([, names]) =>
  names!.split(" "),
);
const messages = [...messagesOf(), ...messagesOfHelpers()].filter(
  ({ file }) => !folders.some((folder) => file.startsWith(folder)),
);

it("every message of the programs leads to an entry of docs/troubleshoot.md", () => {
  assert.ok(messages.length > 100, "the messages were found");
  const matchers = patterns.map(matcher);
  const missing = messages.filter(({ text }) => !matchers.some((pattern) => pattern.test(text)));
  assert.deepEqual(missing, []);
});

it("no entry is of a message that is gone, or of nearly all", () => {
  const gone = patterns.filter((pattern) => !messages.some(({ text }) => matcher(pattern).test(text)));
  assert.deepEqual(gone, []);
  const vague = patterns.filter((pattern) => pattern.replaceAll(/[^a-z]/gi, "").length < 8);
  assert.deepEqual(vague, []);
});
