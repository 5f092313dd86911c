/**
 * Upper bounds of a histogram's buckets: `stepsBetween` between each two powers of ten, from 10^`lowestPower` over
 * `powers` powers, each cut off after five digits, as Buildbarn's histograms have them.
 */
export function decimalBuckets(lowestPower: number, powers: number, stepsBetween = 2): readonly number[] {
  const steps = Array.from({ length: stepsBetween + 1 }, (_, step) =>
    (10 ** (step / (stepsBetween + 1))).toFixed(6).slice(0, 6),
  );
  const bounds: number[] = [];
  for (let power = lowestPower; power < lowestPower + powers; power++) {
    bounds.push(...steps.map((step) => Number(`${step}e${power}`)));
  }
  return [...bounds, Number(`1e${lowestPower + powers}`)];
}

/** `count` upper bounds, the first `start`, each `factor` times the one before. */
export function exponentialBuckets(start: number, factor: number, count: number): readonly number[] {
  return Array.from({ length: count }, (_, index) => start * factor ** index);
}

/** Buildbarn's for all that takes time, in seconds. */
export const SECONDS = decimalBuckets(-3, 6);

/** Buildbarn's for sizes of blobs and files, in bytes. */
export const BYTES = exponentialBuckets(1, 2, 33);
