/** After so many items the event loop has its turn, even if none of them had to wait. */
const ITEMS_A_TURN = 256;

/**
 * Does the work for every item, for at most so many at the same time. Rejects as the first that does; what is under way
 * then goes on, and no other item is begun.
 */
export async function eachAtMost<Item>(
  limit: number,
  items: Iterable<Item>,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const left = items[Symbol.iterator]();
  let done = 0;
  let failed = false;
  /** What all wait for before they go on. */
  let turn: Promise<void> | undefined;

  const oneByOne = async (first: Item): Promise<void> => {
    let item = first;
    for (;;) {
      try {
        await work(item);
      } catch (error) {
        failed = true;
        throw error;
      }
      if (++done % ITEMS_A_TURN === 0) {
        turn = new Promise<void>((resolve) => setImmediate(resolve)).then(() => {
          turn = undefined;
        });
      }
      await turn;
      const next = failed ? undefined : left.next();
      if (next === undefined || next.done) {
        return;
      }
      item = next.value;
    }
  };

  const workers: Promise<void>[] = [];
  while (workers.length < limit) {
    const next = left.next();
    if (next.done) {
      break;
    }
    workers.push(oneByOne(next.value));
  }
  await Promise.all(workers);
}
