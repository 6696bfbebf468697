/** Something that goes wrong until it is healed. */

import type { Fault } from "./types.js";

/** See {@link Fault}. */
export class FaultImpl implements Fault {
  count = 0;
  #undo: (() => unknown) | null;

  constructor(undo: () => unknown) {
    this.#undo = undo;
  }

  get isActive(): boolean {
    return this.#undo !== null;
  }

  heal(): void {
    const undo = this.#undo;
    this.#undo = null;
    undo?.();
  }

  [Symbol.dispose](): void {
    this.heal();
  }
}
