import { createRequire } from "node:module";
import type { createBLAKE3 } from "hash-wasm";

// Only this function's file of the package: the one with all functions takes a thread 6 MB more.
const PACKAGE = createRequire(import.meta.url)("hash-wasm/dist/blake3.umd.min.js") as {
  readonly createBLAKE3: typeof createBLAKE3;
};
// Making one takes a promise, which whoever hashes cannot wait for.
const HASHER = await PACKAGE.createBLAKE3();
/** The hash whose state `HASHER` holds. */
let current: Blake3 | undefined;

/** An incremental BLAKE3 hash of 32 bytes. All share one WebAssembly instance, which holds the state of one at a time. */
export class Blake3 {
  /** While another hash has the instance. */
  #state: Uint8Array | undefined;

  update(data: Uint8Array): this {
    this.#resume();
    HASHER.update(data);
    return this;
  }

  /** Ends the hash: nothing more can be added. */
  digest(_encoding: "hex"): string {
    this.#resume();
    current = undefined;
    return HASHER.digest("hex");
  }

  #resume(): void {
    if (current === this) {
      return;
    }
    if (current !== undefined) {
      current.#state = HASHER.save();
    }
    current = this;
    if (this.#state === undefined) {
      HASHER.init();
    } else {
      HASHER.load(this.#state);
    }
  }
}
