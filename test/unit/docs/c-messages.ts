import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isMessage, type Message } from "./messages.ts";

const NATIVE = join(import.meta.dirname, "../../../native");
const COMMENT = /\/\*.*?\*\//gs;
/** Between two literals that the compiler makes one. */
const JOINT = /"\s*"/g;
const LITERAL = /(?<call>\b\w+\()?"(?<text>(?:[^"\\]|\\.)+)"/g;
/** Calls that add a colon and strerror(3). */
const WITH_REASON = /^(?:perror|die)\($/;
const CONVERSION = /%[-+ #0-9.*]*(?:hh?|ll?|z|j)?[a-z]/g;

/**
 * All messages that the sources of the C helpers have, on standard error or as text in a reply. What is only an errno in a
 * reply becomes a message in TypeScript.
 */
export function messagesOfHelpers(): readonly Message[] {
  return globSync("*.{c,h}", { cwd: NATIVE }).flatMap((file) => {
    const code = readFileSync(join(NATIVE, file), "utf8").replaceAll(COMMENT, "").replaceAll(JOINT, "");
    return [...code.matchAll(LITERAL)].flatMap(({ groups }) => {
      const { call = "", text = "" } = groups!;
      const hasReason = WITH_REASON.test(call);
      const words = text.replaceAll(CONVERSION, "…").replaceAll("\\n", "");
      return hasReason || isMessage(words)
        ? [{ file: `native/${file}`, text: hasReason ? `${words}: …` : words }]
        : [];
    });
  });
}
