import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { JsonnetError } from "../../../src/jsonnet/error.ts";
import { evaluateJsonnet } from "../../../src/jsonnet/evaluate.ts";

/** Programs of ours, and what go-jsonnet 0.22.0 makes of each: JSON, or the first line of its error. */
interface Vector {
  readonly code: string;
  readonly json?: string;
  readonly error?: string;
}

const VECTORS = JSON.parse(readFileSync(join(import.meta.dirname, "vectors.json"), "utf8")) as Vector[];

const evaluate = (text: string, file = "f") => evaluateJsonnet(file, text, { X: "x" });

describe("evaluateJsonnet", () => {
  it("makes of each program what go-jsonnet makes of it", () => {
    for (const { code, json } of VECTORS) {
      if (json === undefined) {
        assert.throws(() => evaluate(code), JsonnetError, code);
      } else {
        assert.equal(evaluate(code), json, code);
      }
    }
  });

  it("begins an error with the reason, and then says where, from the place at fault outwards", () => {
    const error = (text: string): string => {
      try {
        return evaluate(text, "a/b.jsonnet");
      } catch (thrown) {
        return (thrown as Error).message;
      }
    };
    assert.equal(error("{\n  a: unknown,\n}"), "unknown variable: unknown\n    at a/b.jsonnet:2:6");
    assert.equal(
      error("local f(x) =\n  error 'no ' + x;\n{ a: f('way') }"),
      "no way\n    at a/b.jsonnet:2:3\n    at a/b.jsonnet:3:7",
    );
    assert.match(error("{ a: "), /^expected an expression, not end of file\n {4}at a\/b\.jsonnet:1:6$/);
    assert.match(error("{ a: 1 b: 2 }"), /^expected "}", not "b"\n {4}at a\/b\.jsonnet:1:8$/);
    assert.match(
      error("std.extVar('Y')"),
      /^there is no external variable Y: set Y in the environment\n {4}at a\/b\.jsonnet:1:11$/,
    );
    assert.match(
      error("{ a: function(x) x }"),
      /^a function cannot be written as JSON\n {4}at a\/b\.jsonnet:1:1$/,
    );
  });

  it("ends every recursion that has no end, with a reason and a place", () => {
    for (const text of [
      "local f(n) = f(n + 1); f(0)",
      "local f(n) = 1 + f(n + 1); f(0)",
      "local f(n) = [f(n + 1)]; f(0)",
      "local a = b, b = a; a",
      "{ a: self.b, b: self.a }",
      "{ a: { b: $ } }",
      "local o = { a: o }; o",
      "std.foldl(function(a, x) a(a), [1], function(f) f(f))",
    ]) {
      assert.throws(() => evaluate(text), /infinite recursion[\s\S]* at f:1:/, text);
    }
    assert.throws(() => evaluate("[".repeat(100_000)), JsonnetError);
    assert.throws(() => evaluate(`${"(".repeat(100_000)}1${")".repeat(100_000)}`), JsonnetError);
    assert.throws(() => evaluate(`1${"+1".repeat(100_000)}`), JsonnetError);
  });

  it("throws nothing but its own error, whatever the text is", () => {
    const token = fc.constantFrom(
      ..."{ } [ ] ( ) , ; : :: ::: +: . $ self super local x = 1 'a' if then else for in std.length + == ! error".split(
        " ",
      ),
      ..."|||\n @' \" /* # \n assert function tailstrict import null -1 std.map".split(" "),
    );
    const program = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.array(token).map((tokens) => tokens.join(" ")),
    );
    fc.assert(
      fc.property(program, (text) => {
        try {
          evaluate(text);
        } catch (error) {
          assert.ok(error instanceof JsonnetError, `${text}: ${(error as Error).stack}`);
          assert.match(error.message, / at .*:\d+:\d+/);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("takes JSON as it is", () => {
    fc.assert(
      fc.property(fc.jsonValue({ noUnpairedSurrogate: true } as object), (value) => {
        const text = JSON.stringify(value);
        if (text.isWellFormed() && !/\\ud[89a-f]/i.test(text)) {
          assert.deepEqual(JSON.parse(evaluate(text)), JSON.parse(text));
        }
      }),
    );
  });

  it("gives names that JavaScript's objects have by themselves no meaning", () => {
    assert.deepEqual(Object.entries(JSON.parse(evaluate("{ __proto__: 1, constructor: 2 }"))), [
      ["__proto__", 1],
      ["constructor", 2],
    ]);
    assert.throws(
      () => evaluateJsonnet("f", "std.extVar('__proto__')", {}),
      /no external variable __proto__/,
    );
    assert.throws(() => evaluate("std.hasOwnProperty"), /does not exist/);
  });
});

describe("imports", () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(join(tmpdir(), "jsonnet-"));
    writeFileSync(join(folder, "text.txt"), "té\n");
    writeFileSync(join(folder, "one.libsonnet"), "{ two: import 'two.libsonnet', file: std.thisFile }");
    writeFileSync(join(folder, "two.libsonnet"), "{ trimmed: std.trim(importstr 'text.txt') }");
    writeFileSync(join(folder, "wrong.libsonnet"), "\n{ a: ");
    writeFileSync(join(folder, "itself.libsonnet"), "(import 'itself.libsonnet')");
    writeFileSync(join(folder, "in-itself.libsonnet"), "{ a: 1, b: (import 'in-itself.libsonnet').a }");
  });
  after(() => rmSync(folder, { recursive: true }));
  const inFolder = (text: string) => JSON.parse(evaluate(text, join(folder, "main.jsonnet"))) as unknown;

  it("are relative to the file that imports", () => {
    assert.deepEqual(inFolder("import 'one.libsonnet'"), {
      two: { trimmed: "té" },
      file: join(folder, "one.libsonnet"),
    });
    assert.deepEqual(inFolder("importbin 'text.txt'"), [...Buffer.from("té\n")]);
    assert.deepEqual(inFolder(`import '${folder}/two.libsonnet'`), { trimmed: "té" });
    assert.deepEqual(inFolder("(import 'in-itself.libsonnet').b"), 1);
  });

  it("say which file is wrong, or missing, and who imports it", () => {
    assert.throws(() => inFolder("import 'wrong.libsonnet'"), /wrong\.libsonnet:2:6\n.*main\.jsonnet:1:1$/);
    assert.throws(() => inFolder("1 + import 'none'"), /cannot import "none": ENOENT.*\n.*main\.jsonnet:1:5/);
    assert.throws(() => inFolder("import 'itself.libsonnet'"), /infinite recursion/);
  });
});
