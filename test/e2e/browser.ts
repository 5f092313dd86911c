import assert from "node:assert/strict";
import { type EventEmitter, once } from "node:events";
import type { AxeResults } from "axe-core";
import axe from "axe-core";
import { type Browser, launch, type Page } from "puppeteer-core";
import { findProgram } from "../../src/in-kernel/find-program.ts";

/** Debian's browser, if it is installed: `apt-get install -y --no-install-recommends chromium`. */
export const CHROMIUM = findProgram("chromium");

const WIDTHS = [390, 1280];
const COLOURS = ["light", "dark"] as const;

/** What is used here of a tab's own globals. */
interface Tab {
  readonly innerWidth: number;
  readonly document: {
    readonly documentElement: { readonly scrollWidth: number };
    getElementById(id: string): { readonly textContent: string } | null;
  };
}

/** What a page must show as text. */
export const HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>';

export function startBrowser(): Promise<Browser> {
  return launch({
    executablePath: CHROMIUM!,
    // The tests run as root, which Chromium's sandbox does not.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
}

/** What a tab's page does that it must not: errors of its script and of its policy, and requests to elsewhere. */
function misdeedsOf(page: Page, origin: string): string[] {
  const misdeeds: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") {
      misdeeds.push(message.text());
    }
  });
  page.on("pageerror", (error) => misdeeds.push(String(error)));
  page.on("dialog", (dialog) => {
    misdeeds.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${origin}/`) && !url.startsWith("data:")) {
      misdeeds.push(`a request to ${url}`);
    }
  });
  return misdeeds;
}

/** Waits until a section of the page has a text. If it does not come to that, `log()` is in the error. */
export async function shows(page: Page, section: string, text: string, log: () => string): Promise<void> {
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
      throw new Error(`${section} does not come to show ${text}, but ${instead}. The log:\n${log()}`, {
        cause,
      });
    });
}

/** Opens a program's page, and waits until it is live. `isSame()` resolves to whether it was never loaded again. */
export async function liveTab(browser: Browser, origin: string, log: () => string) {
  const page = await browser.newPage();
  const misdeeds = misdeedsOf(page, origin);
  await page.goto(`${origin}/`, { waitUntil: "domcontentloaded" });
  await shows(page, "state", "live", log);
  await page.evaluate(() => Object.assign(globalThis, { isSamePage: true }));
  return { page, misdeeds, isSame: () => page.evaluate(() => "isSamePage" in globalThis) };
}

/** Opens a program's page without JavaScript. */
export async function plainTab(browser: Browser, origin: string) {
  const page = await browser.newPage();
  await page.setJavaScriptEnabled(false);
  const misdeeds = misdeedsOf(page, origin);
  await page.goto(`${origin}/`);
  return { page, misdeeds };
}

/** Waits until a page without JavaScript has reloaded itself, as often as it takes, and has this text. */
export async function reloadsUntil(page: Page, reloaded: Promise<unknown>, text: string): Promise<void> {
  await reloaded;
  while (!(await page.content()).includes(text)) {
    await nextLoad(page);
  }
}

export function nextLoad(page: Page): Promise<unknown> {
  return once(page as unknown as EventEmitter, "load");
}

/** Checks that everybody can read the page, on a phone and a wide screen, light and dark; `look` is called in each. */
export async function isReadable(
  page: Page,
  look: (width: number, colour: (typeof COLOURS)[number]) => Promise<void> = async () => {},
): Promise<void> {
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
      await look(width, colour);
    }
  }
}

/** What axe-core finds wrong with the page as it is shown, by its rules for WCAG 2.2 A and AA and its best practices. */
async function accessibilityProblems(page: Page): Promise<string[]> {
  // The page's policy lets nothing else in; a debugger may.
  const { violations } = (await page.evaluate(
    `(() => { ${axe.source} })(), axe.run(document, { resultTypes: ["violations"] })`,
  )) as AxeResults;
  return violations.map(
    ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join("; ")}`,
  );
}
