import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RecentRecalls } from "../../../src/nfs/delegations/recent-recalls.ts";

describe("recent recalls", () => {
  it("are remembered for 30 seconds, and forgotten after a minute", () => {
    const recalls = new RecentRecalls();
    recalls.add("file", 100_000);
    assert.equal(recalls.has("other", 100_000), false);
    assert.equal(recalls.has("file", 129_999), true);
    assert.equal(recalls.has("file", 160_000), false);
    recalls.add("file", 170_000);
    assert.equal(recalls.has("file", 199_999), true);
    assert.equal(recalls.has("file", 200_000), true);
    assert.equal(recalls.has("file", 230_000), false);
    assert.equal(recalls.size, 0);
  });

  it("take a bounded room, the last ones", () => {
    const recalls = new RecentRecalls();
    for (let file = 0; file < 100_000; file++) {
      recalls.add(`file ${file}`, 100_000 + file / 10);
    }
    assert.ok(recalls.size <= 32_768, `${recalls.size} files`);
    for (let file = 100_000 - 16_384; file < 100_000; file++) {
      assert.ok(recalls.has(`file ${file}`, 110_000), `file ${file}`);
    }
  });
});
