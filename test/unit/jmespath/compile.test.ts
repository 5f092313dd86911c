import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { compileJmespath } from "../../../src/jmespath/compile.ts";
import { JmespathError } from "../../../src/jmespath/error.ts";
import type { Value } from "../../../src/jmespath/values.ts";

/**
 * What go-jmespath 0.4.0 makes of each expression, given its own input, or else the common one; or {uid, groups} with
 * unsigned integers of Go's. Some were written by hand; others were generated, and some of these then damaged.
 */
interface Vector {
  readonly expression: string;
  readonly input?: Value;
  readonly unsigned?: readonly number[];
  readonly result?: Value;
  readonly error?: "compile" | "search";
}

const { input: commonInput, vectors } = JSON.parse(
  readFileSync(join(import.meta.dirname, "vectors.json"), "utf8"),
) as { readonly input: Value; readonly vectors: readonly Vector[] };

function inputOf({ input, unsigned }: Vector): Value {
  if (unsigned === undefined) {
    return input === undefined ? commonInput : input;
  }
  const [uid, ...groups] = unsigned.map(BigInt);
  return { uid: uid!, groups };
}

const plain = (value: Value): unknown =>
  JSON.parse(JSON.stringify(value, (_key, each) => (typeof each === "bigint" ? Number(each) : each)));

describe("compileJmespath", () => {
  it("makes of each expression what go-jmespath makes of it", () => {
    for (const vector of vectors) {
      const { expression, error, result } = vector;
      const search = () => compileJmespath(expression)(inputOf(vector));
      if (error !== undefined) {
        assert.throws(search, JmespathError, expression);
      } else {
        assert.deepEqual(plain(search()), result, expression);
      }
      if (error === "search") {
        compileJmespath(expression);
      }
    }
  });

  it("says where an expression is wrong", () => {
    assert.throws(() => compileJmespath("a.b)"), { message: "unexpected ) at offset 3" });
    assert.throws(() => compileJmespath("a.'b'"), { message: "unexpected literal at offset 2" });
    assert.throws(() => compileJmespath("a 'b"), { message: 'unexpected "\'" at offset 2' });
    assert.throws(() => compileJmespath("[`{`]"), { message: /^no JSON at offset 1: / });
    assert.throws(() => compileJmespath(""), { message: "unexpected end at offset 0" });
  });

  it("says what is wrong with a call", () => {
    const message = (expression: string): string => {
      try {
        compileJmespath(expression)(commonInput);
      } catch (error) {
        return (error as Error).message;
      }
      return "";
    };
    assert.equal(message("nothing(@)"), "there is no function nothing");
    assert.equal(message("length(s, s)"), "length takes 1 arguments, and is given 2");
    assert.equal(message("length(z)"), "length: argument 1 is not of type string or array or object");
    assert.match(message("merge(a, z)"), /^merge: /);
    assert.match(message("contains([a], a)"), /^contains: /);
    assert.match(message("to_string(avg(e))"), /^NaN is no number/);
  });

  it("leaves what sort_by is given as it was", () => {
    const input = { list: [{ n: 2 }, { n: 1 }] };
    assert.deepEqual(compileJmespath("[sort_by(list, &n), list][]")(input), [
      { n: 1 },
      { n: 2 },
      { n: 2 },
      { n: 1 },
    ]);
  });

  it("ends any text in a value or a JmespathError", () => {
    const piece = fc.constantFrom(
      ...[
        "a",
        "b.c",
        ".",
        "*",
        "[",
        "]",
        "[]",
        "[?",
        "(",
        ")",
        "{",
        "}",
        "&",
        "|",
        "||",
        "&&",
        "!",
        "==",
        "<=",
      ],
      ...["'x'", "'", '"', "`", "`1`", "\\", ":", ",", "@", "0", "-1", "length(", "sort_by(a, &", " "],
    );
    fc.assert(
      fc.property(
        fc.array(fc.oneof(piece, fc.string()), { maxLength: 12 }),
        fc.jsonValue(),
        (pieces, input) => {
          try {
            compileJmespath(pieces.join(""))(input as Value);
          } catch (error) {
            assert.ok(error instanceof JmespathError, String(error));
          }
        },
      ),
    );
  });
});
