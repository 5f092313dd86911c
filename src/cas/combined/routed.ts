import type { Route } from "../blob-server.ts";
import type { PortableDigest, PortableError } from "../transfer/portable.ts";
import type { Destined, Fetched } from "../transfer/transfer-task.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";
import {
  type BlobAccess,
  type Fetching,
  type FetchOptions,
  keyOf,
  portable,
  type RangeTask,
  type Run,
  type SmallUpload,
  type TakeChunk,
} from "./blob-access.ts";

/** Passes everything on to where a route leads: to servers, or to other combinations. */
export class Routed implements BlobAccess {
  readonly #route: Route;

  constructor(route: Route) {
    this.#route = route;
  }

  fetchBlobs(run: Run, blobs: readonly Destined[], { together, signal }: FetchOptions): Fetching {
    const fetched: Fetched[] = [];
    const stored: boolean[] = blobs.map(() => false);
    const parts = this.#partsOf(
      blobs,
      ({ digest }) => digest,
      (part, error) => {
        for (const index of part) {
          fetched[index] = portable(error, "fetch");
        }
      },
    ).map(({ server, items }) => {
      const arrived = Promise.withResolvers<void>();
      const fail = (error: unknown): void => {
        for (const { index } of items) {
          fetched[index] ??= portable(error, "fetch");
        }
      };
      const task = {
        kind: "fetchBlobs" as const,
        server,
        together,
        blobs: items.map(({ item, digest }) => ({ ...item, digest })),
      };
      const ended = run(task, {
        signal,
        blobs: (contents) => {
          for (const [position, { index }] of items.entries()) {
            fetched[index] = contents[position]!;
          }
          arrived.resolve();
        },
      }).then((result) => {
        for (const [position, { index }] of items.entries()) {
          stored[index] = result[position] ?? false;
        }
      }, fail);
      return { arrived: Promise.race([arrived.promise, ended]), ended };
    });
    return {
      fetched: Promise.all(parts.map(({ arrived }) => arrived)).then(() => fetched),
      stored: Promise.all(parts.map(({ ended }) => ended)).then(() => stored),
    };
  }

  async fetchRange(run: Run, task: RangeTask, chunk: TakeChunk, signal?: AbortSignal): Promise<void> {
    const { server, digest } = this.#routed(task.digest);
    await run({ ...task, kind: "fetchRange", server, digest }, { chunk, signal });
  }

  async findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    const missing = await Promise.all(
      this.#partsOf(digests, (digest) => digest).map(async ({ server, items }) => {
        const task = { kind: "findMissing" as const, server, digests: items.map(({ digest }) => digest) };
        const keys = new Set((await run(task, { signal })).map(keyOf));
        return items.filter(({ digest }) => keys.has(keyOf(digest))).map(({ item }) => item);
      }),
    );
    return missing.flat();
  }

  async uploadBatch(
    run: Run,
    blobs: readonly SmallUpload[],
    signal?: AbortSignal,
  ): Promise<readonly (PortableError | undefined)[]> {
    const results: (PortableError | undefined)[] = blobs.map(() => undefined);
    await Promise.all(
      this.#partsOf(blobs, ({ digest }) => digest).map(async ({ server, items }) => {
        const part = items.map(({ item, digest }) => ({ content: item.content, digest }));
        const failures = await run({ kind: "uploadBatch", server, blobs: part }, { signal });
        for (const [position, { index }] of items.entries()) {
          results[index] = failures[position];
        }
      }),
    );
    return results;
  }

  async upload(run: Run, digest: PortableDigest, source: RandomAccess, signal?: AbortSignal): Promise<void> {
    await run({ kind: "upload", ...this.#routed(digest) }, { source, signal });
  }

  #routed(digest: PortableDigest): { server: number; digest: PortableDigest } {
    const { server, instanceName } = this.#route(digest.instanceName, digest.hash);
    return { server, digest: { ...digest, instanceName } };
  }

  /**
   * The items by server, instance name and digest function, as calls need them. Items without a route go to `unroutable`;
   * without that, the error is thrown.
   */
  #partsOf<Item>(
    all: readonly Item[],
    digestOf: (item: Item) => PortableDigest,
    unroutable?: (indices: readonly number[], error: unknown) => void,
  ): { server: number; items: { index: number; item: Item; digest: PortableDigest }[] }[] {
    const parts = new Map<
      string,
      { server: number; items: { index: number; item: Item; digest: PortableDigest }[] }
    >();
    for (const [index, item] of all.entries()) {
      try {
        const { server, digest } = this.#routed(digestOf(item));
        const key = `${server} ${digest.function} ${digest.instanceName}`;
        const part = parts.get(key) ?? { server, items: [] };
        part.items.push({ index, item, digest });
        parts.set(key, part);
      } catch (error) {
        if (unroutable === undefined) {
          throw error;
        }
        unroutable([index], error);
      }
    }
    return [...parts.values()];
  }
}
