import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { Channel } from "@grpc/grpc-js";
import type { Browser } from "puppeteer-core";
import { ExecutionClient } from "../../bench/demo/execution-client.ts";
import { type Cluster, defaultPools, startCluster } from "../../src/cluster/cluster.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { computeDigest, SHA256 } from "../../src/reapi/digest.ts";
import {
  CHROMIUM,
  HOSTILE,
  isReadable,
  liveTab,
  nextLoad,
  plainTab,
  reloadsUntil,
  shows,
  startBrowser,
} from "./browser.ts";
import { freePort } from "./free-port.ts";

/** An input that comes when the test says so. */
const LATE = Buffer.from("comes late\n");
const LATE_DIGEST = computeDigest("", SHA256, LATE);

/** Where the screenshots go, if anywhere: `PAGE_SCREENSHOTS=docs npm test -- e2e/page` makes those of docs/page.md. */
const { PAGE_SCREENSHOTS: screenshots } = process.env;

/**
 * The worker's page in a real browser, while actions run through the kernel's NFS client. What an action waits for is held
 * back in storage, so that the page has to show it whatever the machine's speed.
 */
suite("the page in a browser", { skip: CHROMIUM ? false : "chromium is not installed" }, () => {
  let folder: string;
  let cluster: Cluster;
  let channel: Channel;
  let client: ExecutionClient;
  let browser: Browser;
  let origin: string;
  let release: PromiseWithResolvers<void>;

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), "page-test-"));
    const diagnostics = `127.0.0.1:${await freePort()}`;
    origin = `http://${diagnostics}`;
    release = Promise.withResolvers();
    cluster = await startCluster({
      folder,
      listen: "localhost:0",
      pools: defaultPools(2),
      diagnostics,
      onRead: ({ hash }) => (hash === LATE_DIGEST.hash ? release.promise : undefined),
    });
    channel = openChannel({ address: cluster.address });
    client = new ExecutionClient(cluster.storage, channel, []);
    browser = await startBrowser();
  });

  after(async () => {
    release?.resolve();
    await browser?.close();
    channel?.close();
    await cluster?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** Runs a command with `late` and a file that only this action has. */
  async function run(...words: readonly string[]): Promise<unknown> {
    const file = { type: "file", isExecutable: false } as const;
    const { digest } = await cluster.storage.importInputRoot([
      { ...file, path: "late", content: LATE },
      { ...file, path: "own", content: Buffer.from(words.join(" ")) },
    ]);
    return client.run({ arguments: words, workingDirectory: "", outputPaths: ["out"] }, digest);
  }

  const lastLines = () => readFileSync(cluster.logPath, "utf8").split("\n").slice(-20).join("\n");

  test("shows what an action waits for, without being loaded again, then how it ended", {
    timeout: 300_000,
  }, async () => {
    const { page, misdeeds, isSame } = await liveTab(browser, origin, lastLines);
    await shows(page, "running", "No action runs", lastLines);
    await run("sh", "-c", "cat own > out");
    // The page has the name of a program that is not there.
    await assert.rejects(run(HOSTILE), /cannot be executed/);
    await shows(page, "ended", HOSTILE.slice(HOSTILE.indexOf("<script>")), lastLines);

    // By read(2): cat would have the server copy the blob, which nobody need fetch.
    const held = run("sh", "-c", "read line < late; echo $line > out");
    await shows(page, "running", `blob ${LATE_DIGEST.hash.slice(0, 6)}`, lastLines);
    await shows(page, "running", "1 of 4 slots", lastLines);

    const { page: plain, misdeeds: plainMisdeeds } = await plainTab(browser, origin);
    assert.match(await plain.content(), new RegExp(`blob <code>${LATE_DIGEST.hash.slice(0, 6)}`));

    await isReadable(page, async (width, colour) => {
      if (screenshots !== undefined && (colour === "dark") === width < 600) {
        const path = join(screenshots, `page-${width}.png`) as `${string}.png`;
        await page.screenshot({ path, clip: { x: 0, y: 0, width, height: 900 } });
      }
    });

    const reloaded = nextLoad(plain);
    release.resolve();
    await held;
    await shows(page, "running", "No action runs", lastLines);
    assert.equal(await isSame(), true);
    await reloadsUntil(plain, reloaded, "No action runs");
    assert.deepEqual([misdeeds, plainMisdeeds], [[], []]);
  });
});
