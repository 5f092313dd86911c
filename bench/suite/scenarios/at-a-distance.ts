import type { Bench } from "../scenario.ts";
import type { Cost, Side } from "../side.ts";

/**
 * Measures an action with the storage some milliseconds away: with empty caches, again, and on a side that prefetches
 * with empty caches once more, as then there is a profile.
 */
export async function measureAtDistance(
  bench: Bench,
  side: Side,
  title: string,
  latencyMilliseconds: number,
  run: () => Promise<Cost>,
): Promise<void> {
  const restartCold = async () => {
    bench.distance.latencyMilliseconds = 0;
    await side.restart("cold", bench.smallest);
    bench.distance.latencyMilliseconds = latencyMilliseconds;
  };
  try {
    await restartCold();
    bench.recordCost(`${title}, cold`, side, await run());
    bench.recordCost(`${title}, again`, side, await run());
    if (side.prefetches) {
      await restartCold();
      bench.recordCost(`${title}, cold, with a profile`, side, await run());
    }
  } finally {
    bench.distance.latencyMilliseconds = 0;
  }
}
