import type { TestEvent } from "node:test/reporters";

export interface Counts {
  passed: number;
  failed: number;
  skipped: number;
}

/** A reporter for `node --test` that writes one line of JSON: how many tests (not suites) ended how. */
export default async function* countReporter(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const counts: Counts = { passed: 0, failed: 0, skipped: 0 };
  for await (const event of source) {
    if (event.type !== "test:pass" && event.type !== "test:fail") {
      continue;
    }
    if (event.data.details.type === "suite" && event.type === "test:pass") {
      continue;
    }
    if (event.data.skip !== undefined) {
      counts.skipped++;
    } else if (event.type === "test:pass") {
      counts.passed++;
    } else {
      counts.failed++;
    }
  }
  yield JSON.stringify(counts);
}
