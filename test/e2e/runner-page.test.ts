import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { startDiagnostics } from "../../src/telemetry/diagnostics.ts";
import { startTestRunner } from "../unit/runner/served-runner.ts";
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

const local = {
  addresses: [{ host: "127.0.0.1", port: 0 }],
  tls: undefined,
  authentication: { kind: "allow", metadata: {} },
} as const;

/** The runner's page in a real browser. A command waits at a FIFO until the test has seen it run. */
test("the runner's page in a browser shows what runs, without being loaded again, then how it ended", {
  skip: CHROMIUM ? false : "chromium is not installed",
  timeout: 120_000,
}, async (context) => {
  const { buildDirectory, runner, client, request, lines } = await startTestRunner(context);
  const server = await startDiagnostics(
    { servers: [local], prometheus: false, activeSpans: false, profiles: false },
    { page: runner.page, metrics: undefined, activeSpans: undefined },
  );
  context.after(() => server[Symbol.asyncDispose]());
  const origin = `http://127.0.0.1:${server.ports[0]}`;
  const browser = await startBrowser();
  context.after(() => browser.close());
  const log = () => lines.join("\n");

  const { page, misdeeds, isSame } = await liveTab(browser, origin, log);
  await shows(page, "running", "No command runs", log);

  const gate = join(buildDirectory, "1/root/gate");
  execFileSync("mkfifo", [gate]);
  const held = client.run(request(`read line < gate; exit 3 # ${HOSTILE}`));
  await shows(page, "running", HOSTILE, log);

  const { page: plain, misdeeds: plainMisdeeds } = await plainTab(browser, origin);
  assert.match(await plain.content(), /read line &lt; gate/);
  assert.doesNotMatch(await plain.content(), /No command runs/);
  await isReadable(page);

  const reloaded = nextLoad(plain);
  await writeFile(gate, "\n");
  await held;
  await shows(page, "running", "No command runs", log);
  await shows(page, "ended", "exit code 3", log);
  assert.equal(await isSame(), true);
  await isReadable(page);
  await reloadsUntil(plain, reloaded, "exit code 3");
  assert.deepEqual([misdeeds, plainMisdeeds], [[], []]);
});
