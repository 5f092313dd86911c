/** Of at least one value; the upper one of the two in the middle, so that it is one that was measured. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1]!;
}
