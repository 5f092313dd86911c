import assert from "node:assert/strict";
import { posix } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { StatusError } from "../../../src/grpc/status.ts";
import { relativePath } from "../../../src/runner/relative-path.ts";

describe("a relative path", () => {
  it("is brought into its shortest form", () => {
    const forms = {
      "": ".",
      ".": ".",
      "a/": "a",
      "./a//b/./c": "a/b/c",
      "a/../b": "b",
      "a/..": ".",
      "..a": "..a",
    };
    for (const [path, form] of Object.entries(forms)) {
      assert.equal(relativePath("path", path), form);
    }
  });

  it("stays below its directory, or is refused", () => {
    const component = fc.constantFrom("..", ".", "", "a", "b", "...", "\0");
    fc.assert(
      fc.property(fc.array(component), (components) => {
        const path = components.join("/");
        let form: string;
        try {
          form = relativePath("stdout_path", path);
        } catch (error) {
          assert.ok(error instanceof StatusError);
          assert.match(error.message, /^stdout_path "/);
          return;
        }
        assert.equal(posix.join("/build/1", form), posix.join("/build/1", path).replace(/(.)\/$/, "$1"));
        assert.ok(!form.split("/").includes("..") && !path.startsWith("/") && !path.includes("\0"));
      }),
    );
  });
});
