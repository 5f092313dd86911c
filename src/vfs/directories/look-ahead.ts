import type { InputDirectory, InputSource } from "../../cas/input-source.ts";
import type { Digest } from "../../reapi/digest.ts";

/** What may be on its way for one action. */
const MAXIMUM_COUNT = 1000;
const MAXIMUM_BYTES = 4 * 1024 * 1024;

/** For how many directories it is remembered where they stand. Beyond that, all are forgotten. */
const REMEMBERED_DIRECTORIES = 20_000;

/**
 * Fetches directories of an action's input root before they are asked for. Who lists a directory will often list those
 * in it, and then those in them. So listing a directory has the source fetch what is directly below it, and directly
 * below those that stand beside it: a walk waits for one round trip a level, not one a directory. What arrives stays in
 * the source's cache; what fails is asked for again by whoever needs it.
 */
export class LookAhead {
  readonly #source: InputSource;
  /** By hash. */
  readonly #places = new Map<string, Level | typeof LISTED>();
  /** Hashes of what is on its way, and how many bytes that is. */
  readonly #pending = new Set<string>();
  #bytes = 0;
  #stopped = false;

  constructor(source: InputSource) {
    this.#source = source;
  }

  /** To be called when somebody lists the directory that has these subdirectories. */
  listed(digest: Digest, subdirectories: readonly Digest[]): void {
    const place = this.#places.get(digest.hash);
    if (this.#stopped || place === LISTED) {
      return;
    }
    if (this.#places.size > REMEMBERED_DIRECTORIES) {
      this.#places.clear();
    }
    const level = place ?? new Level();
    this.#takeBelow(level, digest, subdirectories);
    for (let left = MAXIMUM_COUNT; left > level.below.unasked && this.#takeBelowNext(level); left--) {}
    this.#fetch(level.below);
    this.#fetch(level);
  }

  /** From then on nothing is fetched; what is on its way is for others. */
  stop(): void {
    this.#stopped = true;
    this.#places.clear();
  }

  #takeBelow(level: Level, digest: Digest, subdirectories: readonly Digest[]): void {
    this.#places.set(digest.hash, LISTED);
    for (const subdirectory of subdirectories) {
      if (!this.#places.has(subdirectory.hash)) {
        this.#places.set(subdirectory.hash, level.below);
        level.below.directories.push(subdirectory);
      }
    }
  }

  /** What is below the next directory of a level; false if there is none, or none that has arrived. */
  #takeBelowNext(level: Level): boolean {
    if (level.taken === level.asked) {
      return false;
    }
    const digest = level.directories[level.taken]!;
    if (this.#places.get(digest.hash) !== LISTED) {
      const directory = this.#pending.has(digest.hash) ? undefined : this.#ask(digest);
      if (directory === undefined) {
        return false;
      }
      this.#takeBelow(
        level,
        digest,
        directory.directories.map((subdirectory) => subdirectory.digest),
      );
    }
    level.taken++;
    return true;
  }

  #fetch(level: Level): void {
    for (let left = MAXIMUM_COUNT; left > 0 && level.unasked > 0; left--) {
      const digest = level.directories[level.asked]!;
      if (this.#pending.size >= MAXIMUM_COUNT || this.#bytes + digest.sizeBytes > MAXIMUM_BYTES) {
        return;
      }
      level.asked++;
      this.#ask(digest);
    }
  }

  /** undefined if it is not there yet. */
  #ask(digest: Digest): InputDirectory | undefined {
    let answer: InputDirectory | Promise<InputDirectory>;
    try {
      answer = this.#source.directory(digest);
    } catch {
      this.#places.set(digest.hash, LISTED);
      return undefined;
    }
    if (!(answer instanceof Promise)) {
      return answer;
    }
    this.#pending.add(digest.hash);
    this.#bytes += digest.sizeBytes;
    const settled = () => {
      this.#pending.delete(digest.hash);
      this.#bytes -= digest.sizeBytes;
    };
    answer.then(settled, () => {
      settled();
      // It is not asked for again here.
      this.#places.set(digest.hash, LISTED);
    });
    return undefined;
  }
}

/** Of a directory below which nothing is looked for any more. */
const LISTED = "listed";

/** Directories that are equally deep, in the order in which they were found. */
class Level {
  readonly directories: Digest[] = [];
  /** So many of them were fetched, or are on their way. */
  asked = 0;
  /** Of so many of them, {@link below} has what they contain. */
  taken = 0;
  #below: Level | undefined;

  get below(): Level {
    this.#below ??= new Level();
    return this.#below;
  }

  get unasked(): number {
    return this.directories.length - this.asked;
  }
}
