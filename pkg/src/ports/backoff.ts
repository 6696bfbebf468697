/** When to try again. */

import * as check from "../arguments.js";
import { realClock } from "../clock.js";
import type { Clock, ReconnectOptions } from "../types.js";

const MIN_DELAY = 500;
const MAX_DELAY = 30_000;
const MIN_UPTIME = 5_000;

/** Waits that double with each failure, half of each left to chance. Times are milliseconds. */
export class Backoff {
  readonly clock: Clock;
  readonly #minDelay: number;
  readonly #maxDelay: number;
  readonly #minUptime: number;
  readonly #attempts: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(argument: string, options: ReconnectOptions) {
    const given = check.options(argument, options);
    const duration = (name: "minDelay" | "maxDelay" | "minUptime", fallback: number): number => {
      const value = given[name];
      return value === undefined ? fallback : check.duration(`${argument}.${name}`, value);
    };
    // Each default makes room for the other's value.
    const longest = duration("maxDelay", Number.POSITIVE_INFINITY);
    this.#minDelay = duration("minDelay", Math.min(MIN_DELAY, longest));
    this.#maxDelay = given.maxDelay === undefined ? Math.max(MAX_DELAY, this.#minDelay) : longest;
    if (this.#maxDelay < this.#minDelay) {
      throw new RangeError(`${argument}.maxDelay must not be less than minDelay`);
    }
    this.#minUptime = duration("minUptime", MIN_UPTIME);
    const { attempts = Number.POSITIVE_INFINITY, random, clock } = given;
    this.#attempts =
      attempts === Number.POSITIVE_INFINITY
        ? attempts
        : check.integer(`${argument}.attempts`, attempts, 0, Number.MAX_SAFE_INTEGER);
    this.#random = check.callback(`${argument}.random`, random) ?? Math.random;
    this.clock = clock === undefined ? realClock : check.clock(`${argument}.clock`, clock);
  }

  /** The wait before the next attempt, after a link that was open for `uptime`; null if there shall be none. */
  next(uptime: number): number | null {
    if (uptime > 0 && uptime >= this.#minUptime) this.#failures = 0;
    if (this.#failures >= this.#attempts) return null;
    const longest = Math.min(this.#maxDelay, this.#minDelay * 2 ** this.#failures);
    this.#failures += 1;
    return longest / 2 + (this.#random() * longest) / 2;
  }
}

/** What the option `reconnect` says; null for not at all. */
export function backoffOf(
  argument: string,
  reconnect: boolean | ReconnectOptions | undefined,
): Backoff | null {
  if (reconnect === undefined || reconnect === false) return null;
  return new Backoff(argument, reconnect === true ? {} : reconnect);
}
