/** A short form of `npm run conformance`: what Debian's packages carry, for some seconds each. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { describeMounts, inKernel, run } from "./mounted-file-systems.ts";

/** All known to work on Linux 6.1's NFS client, and none that must first make or then remove thousands of files. */
const STRESSORS = "access chmod fcntl flock fstat lockf rename touch utime".split(" ");

const DBENCH_LOADFILE = "/usr/share/dbench/client.txt";

describe("public suites, in short", inKernel, () => {
  describeMounts("at work", (mount) => {
    it("stress-ng finds nothing wrong in many kinds of system calls at the same time", async () => {
      const directory = await mount.directory();
      const stressors = STRESSORS.flatMap((name) => [`--${name}`, "1"]);
      const options = ["--verify", "--seed", "1", "--timeout", "2s", "--temp-path", directory];
      const { status, output, errors } = await run("stress-ng", [...options, ...stressors]);
      assert.equal(status, 0, output + errors);
      assert.match(output + errors, /successful run completed/);
      assert.doesNotMatch(output + errors, /skip/);
    });

    it("dbench gets each answer that it expects", async () => {
      const directory = await mount.directory();
      const options = ["-t", "2", "-c", DBENCH_LOADFILE, "-D", directory];
      const { status, output, errors } = await run("dbench", [...options, "2"]);
      assert.equal(status, 0, output + errors);
      assert.match(output, /^Throughput /m);
      // So begins what it says of an operation that ended otherwise than the load file has it.
      assert.doesNotMatch(output + errors, /^\[\d+\]|ERROR/m);
    });
  });
});
