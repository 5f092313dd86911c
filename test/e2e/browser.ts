import type { AxeResults } from "axe-core";
import axe from "axe-core";
import { type Browser, launch, type Page } from "puppeteer-core";
import { findProgram } from "../../src/in-kernel/find-program.ts";

/** Debian's browser, if it is installed: `apt-get install -y --no-install-recommends chromium`. */
export const CHROMIUM = findProgram("chromium");

export function startBrowser(): Promise<Browser> {
  return launch({
    executablePath: CHROMIUM!,
    // The tests run as root, which Chromium's sandbox does not.
    args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
  });
}

/** What a tab's page does that it must not: errors of its script and of its policy, and requests to elsewhere. */
export function misdeedsOf(page: Page, origin: string): string[] {
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

/** What axe-core finds wrong with the page as it is shown, by its rules for WCAG 2.2 A and AA and its best practices. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  // The page's policy lets nothing else in; a debugger may.
  const { violations } = (await page.evaluate(
    `(() => { ${axe.source} })(), axe.run(document, { resultTypes: ["violations"] })`,
  )) as AxeResults;
  return violations.map(
    ({ id, help, nodes }) => `${id}: ${help}: ${nodes.map(({ html }) => html).join("; ")}`,
  );
}
