import { LRUCache } from "lru-cache";
import { Code } from "../../proto/gen/google/rpc/code_pb.ts";
import { asBlobError } from "../../reapi/blob-error.ts";
import type { PortableDigest } from "../transfer/portable.ts";
import type { Fetched } from "../transfer/transfer-task.ts";
import {
  type BlobAccess,
  type FetchOptions,
  isError,
  ofBackend,
  type RangeTask,
  type Run,
  type TakeChunk,
} from "./blob-access.ts";
import { Forwarding } from "./forwarding.ts";

export interface ReadCanaryingOptions {
  /** In instance names. */
  readonly maximumCount: number;
  readonly durationMilliseconds: number;
  /** Milliseconds, never going back. Default: performance.now(). */
  readonly now?: () => number;
}

/** Whether to read from the replica; "asked" while the request that finds out is under way. */
type Verdict = "asked" | { readonly replica: boolean; readonly expires: number };

/**
 * Buildbarn's `readCanarying`: reads from a replica as long as that answers, by instance name. When it is not known
 * whether it does, one request finds out; meanwhile, and while it does not answer, the source is read from.
 */
export class ReadCanarying extends Forwarding {
  readonly #source: BlobAccess;
  readonly #replica: BlobAccess;
  readonly #durationMilliseconds: number;
  readonly #now: () => number;
  readonly #verdicts: LRUCache<string, Verdict>;

  constructor(source: BlobAccess, replica: BlobAccess, options: ReadCanaryingOptions) {
    super(source);
    this.#source = source;
    this.#replica = replica;
    this.#durationMilliseconds = options.durationMilliseconds;
    this.#now = options.now ?? (() => performance.now());
    // Not as `max`, for which it would allocate at once.
    this.#verdicts = new LRUCache({ maxSize: options.maximumCount, sizeCalculation: () => 1 });
  }

  override async fetchBlobs(
    run: Run,
    digests: readonly PortableDigest[],
    options: FetchOptions,
  ): Promise<readonly Fetched[]> {
    // A call has one instance name.
    const { instanceName } = digests[0]!;
    if (!this.#asksReplica(instanceName)) {
      return this.#source.fetchBlobs(run, digests, options);
    }
    const fetched = await this.#replica.fetchBlobs(run, digests, options);
    const failed = fetched.find((each) => isError(each) && isInfrastructureFailure(each.code));
    this.#record(instanceName, failed === undefined);
    return failed === undefined ? fetched : this.#source.fetchBlobs(run, digests, options);
  }

  override async fetchRange(
    run: Run,
    task: RangeTask,
    chunk: TakeChunk,
    signal?: AbortSignal,
  ): Promise<void> {
    let taken = 0;
    await this.#replicaOrSource(task.digest.instanceName, signal, (access) => {
      // What the replica has sent before it failed is not asked for again.
      const { digest, chunkSizeBytes } = task;
      const rest = {
        digest,
        chunkSizeBytes,
        offset: task.offset + taken,
        length: task.length - taken,
      };
      return access.fetchRange(
        run,
        rest,
        (index, frame) => {
          taken += Math.min(chunkSizeBytes, task.length - taken);
          chunk(index, frame);
        },
        signal,
      );
    });
  }

  override async findMissing(
    run: Run,
    digests: readonly PortableDigest[],
    signal?: AbortSignal,
  ): Promise<readonly PortableDigest[]> {
    const byInstance = Map.groupBy(digests, ({ instanceName }) => instanceName);
    const missing = await Promise.all(
      [...byInstance].map(([instanceName, part]) =>
        this.#replicaOrSource(instanceName, signal, (access) => access.findMissing(run, part, signal)),
      ),
    );
    return missing.flat();
  }

  async #replicaOrSource<Result>(
    instanceName: string,
    signal: AbortSignal | undefined,
    work: (access: BlobAccess) => Promise<Result>,
  ): Promise<Result> {
    if (this.#asksReplica(instanceName)) {
      try {
        const result = await work(this.#replica);
        this.#record(instanceName, true);
        return result;
      } catch (error) {
        const failed = isInfrastructureFailure(asBlobError(error, "replica").code);
        this.#record(instanceName, signal?.aborted || !failed);
        signal?.throwIfAborted();
        if (!failed) {
          throw ofBackend("replica", error);
        }
      }
    }
    return work(this.#source);
  }

  #asksReplica(instanceName: string): boolean {
    const verdict = this.#verdicts.get(instanceName);
    if (verdict === "asked") {
      return false;
    }
    if (verdict !== undefined && this.#now() < verdict.expires) {
      return verdict.replica;
    }
    this.#verdicts.set(instanceName, "asked");
    return true;
  }

  #record(instanceName: string, replica: boolean): void {
    this.#verdicts.set(instanceName, { replica, expires: this.#now() + this.#durationMilliseconds });
  }
}

function isInfrastructureFailure(code: number): boolean {
  return code === Code.INTERNAL || code === Code.UNAVAILABLE || code === Code.UNKNOWN;
}
