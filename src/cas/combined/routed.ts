import type { Route } from "../blob-server.ts";
import type { PortableDigest, PortableError } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import type { RandomAccess } from "../transfer/upload-source.ts";
import {
  type BlobAccess,
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

  async fetchBlobs(
    run: Run,
    digests: readonly PortableDigest[],
    { together, signal }: FetchOptions,
  ): Promise<readonly Fetched[]> {
    const fetched: Fetched[] = [];
    const parts = this.#partsOf(
      digests,
      (digest) => digest,
      (unroutable, error) => {
        for (const index of unroutable) {
          fetched[index] = portable(error, "fetch");
        }
      },
    );
    await Promise.all(
      parts.map(async ({ server, items }) => {
        const task = {
          kind: "fetchBlobs" as const,
          server,
          together,
          digests: items.map(({ digest }) => digest),
        };
        const results = await run(task, { signal }).catch((error: unknown) =>
          items.map(() => portable(error, "fetch")),
        );
        for (const [position, { index }] of items.entries()) {
          fetched[index] = results[position]!;
        }
      }),
    );
    return fetched;
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
