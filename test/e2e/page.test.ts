import assert from "node:assert/strict";
import { type EventEmitter, once } from "node:events";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import type { Channel } from "@grpc/grpc-js";
import type { Browser, Page } from "puppeteer-core";
import { ExecutionClient } from "../../bench/demo/execution-client.ts";
import { type Cluster, defaultPools, startCluster } from "../../src/cluster/cluster.ts";
import { openChannel } from "../../src/grpc/endpoint.ts";
import { computeDigest, SHA256 } from "../../src/reapi/digest.ts";
import { accessibilityProblems, CHROMIUM, misdeedsOf, startBrowser } from "./browser.ts";
import { freePort } from "./free-port.ts";

/** An input that comes when the test says so. */
const LATE = Buffer.from("comes late\n");
const LATE_DIGEST = computeDigest("", SHA256, LATE);
/** A program's name, which the page shows, since there is no such program. */
const HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>';
const WIDTHS = [390, 1280];
const COLOURS = ["light", "dark"] as const;

/** What the test uses of a tab's own globals. */
interface Tab {
  readonly innerWidth: number;
  readonly document: {
    readonly documentElement: { readonly scrollWidth: number };
    getElementById(id: string): { readonly textContent: string } | null;
  };
}

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

  async function shows(page: Page, section: string, text: string): Promise<void> {
    const textOf = (id: string) =>
      (globalThis as unknown as Tab).document.getElementById(id)?.textContent ?? "";
    await page
      .waitForFunction(
        (id, text) =>
          (globalThis as unknown as Tab).document.getElementById(id)?.textContent.includes(text) ?? false,
        { timeout: 60_000 },
        section,
        text,
      )
      .catch(async (cause: unknown) => {
        const instead = await page.evaluate(textOf, section);
        const log = readFileSync(cluster.logPath, "utf8").split("\n").slice(-20).join("\n");
        throw new Error(`${section} does not come to show ${text}, but ${instead}. The log:\n${log}`, {
          cause,
        });
      });
  }

  test("shows what an action waits for, without being loaded again, then how it ended", {
    timeout: 300_000,
  }, async () => {
    const page = await browser.newPage();
    const misdeeds = misdeedsOf(page, origin);
    await page.goto(`${origin}/`, { waitUntil: "domcontentloaded" });
    await shows(page, "state", "live");
    await shows(page, "running", "No action runs");
    await page.evaluate(() => Object.assign(globalThis, { isSamePage: true }));
    await run("sh", "-c", "cat own > out");
    await assert.rejects(run(HOSTILE), /cannot be executed/);
    await shows(page, "ended", HOSTILE.slice(HOSTILE.indexOf("<script>")));

    // By read(2): cat would have the server copy the blob, which nobody need fetch.
    const held = run("sh", "-c", "read line < late; echo $line > out");
    await shows(page, "running", `blob ${LATE_DIGEST.hash.slice(0, 6)}`);
    await shows(page, "running", "1 of 4 slots");

    const plain = await browser.newPage();
    const plainMisdeeds = misdeedsOf(plain, origin);
    await plain.setJavaScriptEnabled(false);
    await plain.goto(`${origin}/`);
    assert.match(await plain.content(), new RegExp(`blob <code>${LATE_DIGEST.hash.slice(0, 6)}`));

    // A tab that is behind another draws nothing, and is not looked at.
    await page.bringToFront();
    for (const width of WIDTHS) {
      for (const colour of COLOURS) {
        await page.setViewport({ width, height: 900 });
        await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: colour }]);
        assert.deepEqual(await accessibilityProblems(page), [], `${width} pixels, ${colour}`);
        const isTooWide = await page.evaluate(() => {
          const { document, innerWidth } = globalThis as unknown as Tab;
          return document.documentElement.scrollWidth > innerWidth;
        });
        assert.equal(isTooWide, false, `at ${width} pixels, nothing is beside the screen`);
        if (screenshots !== undefined && (colour === "dark") === width < 600) {
          const path = join(screenshots, `page-${width}.png`) as `${string}.png`;
          await page.screenshot({ path, clip: { x: 0, y: 0, width, height: 900 } });
        }
      }
    }

    const reloaded = once(plain as unknown as EventEmitter, "load");
    release.resolve();
    await held;
    await shows(page, "running", "No action runs");
    assert.equal(await page.evaluate(() => "isSamePage" in globalThis), true);
    await reloaded;
    while (!(await plain.content()).includes("No action runs")) {
      await once(plain as unknown as EventEmitter, "load");
    }
    assert.deepEqual([misdeeds, plainMisdeeds], [[], []]);
  });
});
