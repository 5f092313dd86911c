import type { State } from "./records.ts";

/**
 * All states by the number in their stateid: an array index, and the generation of what is there, so that finding one
 * costs neither a hash nor an allocation.
 */
export class StateTable {
  readonly #states: (State | undefined)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];

  get size(): number {
    return this.#states.length - this.#free.length;
  }

  add(state: State): void {
    const index = this.#free.pop() ?? this.#states.length;
    if (index === this.#states.length) {
      this.#states.push(undefined);
      this.#generations.push(0);
    }
    this.#states[index] = state;
    state.index = index;
    state.generation = this.#generations[index]!;
    state.client.stateCount++;
  }

  remove(state: State): void {
    if (this.#states[state.index] !== state) {
      return;
    }
    this.#states[state.index] = undefined;
    this.#generations[state.index] = (state.generation + 1) >>> 0;
    this.#free.push(state.index);
    state.client.stateCount--;
  }

  get(index: number, generation: number): State | undefined {
    const state = this.#states[index];
    return state !== undefined && state.generation === generation ? state : undefined;
  }
}
