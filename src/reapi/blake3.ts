import hashWasm from "hash-wasm/dist/blake3.umd.min.js";

let hasher: Awaited<ReturnType<typeof hashWasm.createBLAKE3>>;
/** Resolves when hashes can be made: that takes a promise, which whoever hashes cannot wait for. */
export const BLAKE3_READY: Promise<void> = hashWasm.createBLAKE3().then((made) => {
  hasher = made;
});
/** The hash whose state `hasher` holds. */
let current: Blake3 | undefined;

/** An incremental BLAKE3 hash of 32 bytes. All share one WebAssembly instance, which holds the state of one at a time. */
export class Blake3 {
  /** While another hash has the instance. */
  #state: Uint8Array | undefined;

  update(data: Uint8Array): this {
    this.#resume();
    hasher.update(data);
    return this;
  }

  /** Ends the hash: nothing more can be added. */
  digest(_encoding: "hex"): string {
    this.#resume();
    current = undefined;
    return hasher.digest("hex");
  }

  #resume(): void {
    if (current === this) {
      return;
    }
    if (current !== undefined) {
      current.#state = hasher.save();
    }
    current = this;
    if (this.#state === undefined) {
      hasher.init();
    } else {
      hasher.load(this.#state);
    }
  }
}
