/** The clock of a world, for its programs, and what a host thinks of it. */

import * as check from "../arguments.js";
import type { DurationLike } from "../types.js";
import type { Scheduler } from "./scheduler.js";
import type { WorldClock } from "./types.js";

const MICROSECONDS = 1_000;

/** How a host's clock goes wrong. */
export interface Skew {
  /** Milliseconds that its date is ahead. */
  readonly offset: number;
  /** How many of its seconds go by in a second. */
  readonly rate: number;
}

/** A clock that goes right. */
export const NO_SKEW: Skew = { offset: 0, rate: 1 };

/** See {@link WorldClock}. */
export class ProgramClock implements WorldClock {
  readonly #scheduler: Scheduler;
  readonly #start: number;
  readonly #label: string;
  readonly #timers = new Set<{ timer: unknown }>();
  #skew = NO_SKEW;
  /** Its own time when the skew was set, and the world's: from there it goes at the rate. */
  #since = { own: 0, world: 0 };

  /** `start` is the date when the world begins; `label` is whose clock it is. */
  constructor(scheduler: Scheduler, start: number, label: string) {
    this.#scheduler = scheduler;
    this.#start = start;
    this.#label = label;
  }

  set skew(skew: Skew) {
    this.#since = { own: this.now(), world: this.#world };
    this.#skew = skew;
  }

  get #world(): number {
    return this.#scheduler.now / MICROSECONDS;
  }

  now(): number {
    return this.#since.own + (this.#world - this.#since.world) * this.#skew.rate;
  }

  date(): number {
    return this.#start + this.now() + this.#skew.offset;
  }

  setTimeout(callback: () => void, delay: DurationLike = 0): unknown {
    if (check.callback("callback", callback) === null) {
      throw new TypeError("callback must be a function, got nothing");
    }
    const span = check.duration("delay", delay) / this.#skew.rate;
    const entry = { timer: null as unknown };
    this.#timers.add(entry);
    entry.timer = this.#scheduler.setTimer(
      () => {
        this.#timers.delete(entry);
        callback();
      },
      span,
      `${this.#label}.setTimeout`,
    );
    return entry;
  }

  clearTimeout(timer: unknown): void {
    const entry = timer as { timer: unknown };
    if (this.#timers.delete(entry)) this.#scheduler.clearTimer(entry.timer);
  }

  sleep(delay: DurationLike, options?: { signal?: AbortSignal }): Promise<void> {
    const signal = check.abortSignal("options.signal", check.options("options", options).signal);
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(signal.reason);
        return;
      }
      const onAbort = (): void => {
        this.clearTimeout(timer);
        reject(signal?.reason);
      };
      const timer = this.setTimeout(() => {
        signal?.removeEventListener("abort", onAbort);
        resolve();
      }, delay);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Forgets all timers. */
  stop(): void {
    for (const entry of this.#timers) this.#scheduler.clearTimer(entry.timer);
    this.#timers.clear();
  }
}
