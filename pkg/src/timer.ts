/** A timer for what a state machine of the services' module has due. */

import { holdProgram } from "./clock.js";
import type { EngineCore } from "./engine_core.js";

/** setTimeout takes a longer delay for none. */
const LONGEST_DELAY = 2 ** 31 - 1;

/** Calls back when a point in the engine's time has come. It keeps a program running only if it is told to. */
export class DueTimer {
  readonly #engine: EngineCore;
  readonly #callback: () => void;
  #timer: unknown = null;

  constructor(engine: EngineCore, callback: () => void) {
    this.#engine = engine;
    this.#callback = callback;
  }

  /**
   * Calls back once at `due` microseconds, and no more at what was set before; infinite for never. The program does not end
   * before that if it is waited for.
   */
  set(due: number, isAwaited: boolean): void {
    this.clear();
    if (due === Number.POSITIVE_INFINITY) return;
    const delay = Math.max(0, (due - this.#engine.now()) / 1_000);
    this.#timer = this.#engine.clock.setTimer(this.#callback, Math.min(delay, LONGEST_DELAY));
    holdProgram(this.#timer, isAwaited);
  }

  clear(): void {
    if (this.#timer !== null) this.#engine.clock.clearTimer(this.#timer);
    this.#timer = null;
  }
}
