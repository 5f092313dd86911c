export interface BatcherOptions<Item, Result> {
  readonly maximumCount: number;
  /** Limit of a batch's {@link bytes}; a single item may have more. */
  readonly maximumBytes: number;
  bytes(item: Item): number;
  /** Only items with the same group share a batch. */
  group(item: Item): string;
  /** Batches of a group that run at the same time. Items that come meanwhile wait, and so make larger batches. */
  readonly maximumConcurrency: number;
  /** The results, in the items' order; an Error among them is one item's failure, a rejection that of all. */
  run(items: readonly Item[]): Promise<readonly (Result | Error)[]>;
}

/**
 * Turns single requests into batches: those of one tick and, under load, those that come while earlier batches
 * run.
 */
export class Batcher<Item, Result> {
  readonly #options: BatcherOptions<Item, Result>;
  readonly #groups = new Map<string, Group<Item, Result>>();

  constructor(options: BatcherOptions<Item, Result>) {
    this.#options = options;
  }

  add(item: Item): Promise<Result> {
    const name = this.#options.group(item);
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = { waiting: [], inProgress: 0, scheduled: false };
      this.#groups.set(name, group);
    }
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    group.waiting.push({ item, resolve, reject });
    if (!group.scheduled) {
      group.scheduled = true;
      setImmediate(() => {
        group.scheduled = false;
        this.#flush(name, group);
      });
    }
    return promise;
  }

  #flush(name: string, group: Group<Item, Result>): void {
    while (group.waiting.length > 0 && group.inProgress < this.#options.maximumConcurrency) {
      void this.#send(name, group, this.#take(group));
    }
  }

  #take({ waiting }: Group<Item, Result>): Waiting<Item, Result>[] {
    const { maximumCount, maximumBytes, bytes } = this.#options;
    let count = 0;
    let room = maximumBytes;
    while (count < waiting.length && count < maximumCount) {
      room -= bytes(waiting[count]!.item);
      if (room < 0 && count > 0) {
        break;
      }
      count++;
    }
    return waiting.splice(0, count);
  }

  async #send(name: string, group: Group<Item, Result>, batch: Waiting<Item, Result>[]): Promise<void> {
    group.inProgress++;
    try {
      const results = await this.#options.run(batch.map(({ item }) => item));
      for (const [index, { resolve, reject }] of batch.entries()) {
        const result = results[index]!;
        if (result instanceof Error) {
          reject(result);
        } else {
          resolve(result);
        }
      }
    } catch (error) {
      for (const { reject } of batch) {
        reject(error);
      }
    } finally {
      group.inProgress--;
      if (group.waiting.length > 0) {
        this.#flush(name, group);
      } else if (group.inProgress === 0 && !group.scheduled) {
        this.#groups.delete(name);
      }
    }
  }
}

interface Waiting<Item, Result> {
  readonly item: Item;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

interface Group<Item, Result> {
  readonly waiting: Waiting<Item, Result>[];
  inProgress: number;
  scheduled: boolean;
}
