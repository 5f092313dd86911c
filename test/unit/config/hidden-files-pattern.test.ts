import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { RE2JS } from "re2js";

/** Which of the names Go's regexp finds each pattern in; null for what is no pattern of its. */
const { names, patterns } = JSON.parse(
  readFileSync(join(import.meta.dirname, "re2-vectors.json"), "utf8"),
) as {
  readonly names: readonly string[];
  readonly patterns: readonly (readonly [string, string[] | null])[];
};

describe("the library that hiddenFilesPattern is given to", () => {
  it("finds a pattern where Go does, and takes none that Go does not", () => {
    for (const [pattern, found] of patterns) {
      if (found === null) {
        assert.throws(() => RE2JS.compile(pattern), Error, pattern);
      } else {
        const compiled = RE2JS.compile(pattern);
        assert.deepEqual(
          names.filter((name) => compiled.test(name)),
          found,
          pattern,
        );
      }
    }
  });
});
