/**
 * What a guest may send and receive: token buckets that all its flows share. Who gets nothing just now waits in line, so that flows share alike, and TCP's
 * window holds the sender back; nothing is dropped.
 */

import * as check from "../../arguments.js";
import { holdProgram } from "../../clock.js";
import type { Clock, RateLike } from "../../types.js";
import type { Bandwidth, BandwidthOptions } from "./types.js";

/** How long a bucket that is full lasts, in milliseconds. */
const DEPTH = 50;
/** The least that a bucket holds, in bytes: a few segments. */
const LEAST_DEPTH = 6_000;
/** What a flow gets in its turn, in bytes. */
const TURN = 64 * 1024;
/** Timers of less are not worth it, in milliseconds. */
const SHORTEST_WAIT = 2;

/** See the module's comment. */
export class TokenBucket {
  readonly #clock: Clock;
  /** Bytes in a millisecond. */
  readonly #rate: number;
  readonly #depth: number;
  #tokens: number;
  #filled: number;
  #timer: unknown = null;
  #isServing = false;
  readonly #waiting = new Set<() => void>();

  /** `rate` is in bits per second. */
  constructor(clock: Clock, rate: number) {
    this.#clock = clock;
    this.#rate = rate / 8_000;
    this.#depth = Math.max(LEAST_DEPTH, this.#rate * DEPTH);
    this.#tokens = this.#depth;
    this.#filled = clock.now();
  }

  /** How many bytes, of those that are wanted, may pass now; 0 asks to {@link wait}. */
  grant(wanted: number): number {
    this.#fill();
    // Those that wait were first.
    if (this.#waiting.size > 0 && !this.#isServing) return 0;
    return Math.min(wanted, TURN, Math.max(0, Math.floor(this.#tokens)));
  }

  /** Whether a datagram may pass, of whatever length: the bucket may owe for one. */
  grantsAny(): boolean {
    this.#fill();
    return this.#tokens > 0;
  }

  /** Bytes have passed. */
  spend(count: number): void {
    this.#tokens -= count;
  }

  /** Calls `waiter` once there may be tokens for it. */
  wait(waiter: () => void): void {
    this.#waiting.add(waiter);
    this.#arm();
  }

  forget(waiter: () => void): void {
    this.#waiting.delete(waiter);
  }

  /** Wakes all that wait: the bucket limits nobody any more. */
  end(): void {
    this.#tokens = Number.POSITIVE_INFINITY;
    if (this.#timer !== null) this.#clock.clearTimer(this.#timer);
    this.#timer = null;
    for (const waiter of [...this.#waiting]) {
      this.#waiting.delete(waiter);
      waiter();
    }
  }

  /** Tokens that are worth waking somebody for. */
  get #turn(): number {
    return Math.min(TURN, this.#depth / 2);
  }

  #fill(): void {
    const now = this.#clock.now();
    const gained = Math.max(0, now - this.#filled) * this.#rate;
    this.#tokens = Math.min(this.#depth, this.#tokens + gained);
    this.#filled = now;
  }

  #arm(): void {
    if (this.#timer !== null) return;
    const missing = this.#turn - this.#tokens;
    this.#timer = this.#clock.setTimer(
      () => {
        this.#timer = null;
        this.#serve();
      },
      Math.max(SHORTEST_WAIT, missing / this.#rate),
    );
    holdProgram(this.#timer, false);
  }

  /** Each that waits has its turn, in order, as long as there are tokens. */
  #serve(): void {
    this.#fill();
    this.#isServing = true;
    for (const waiter of [...this.#waiting]) {
      if (this.#tokens < this.#turn) break;
      this.#waiting.delete(waiter);
      waiter();
    }
    this.#isServing = false;
    if (this.#waiting.size > 0) this.#arm();
  }
}

/** The buckets of one guest. */
export interface GuestBuckets {
  up: TokenBucket | null;
  down: TokenBucket | null;
}

/** {@link Bandwidth} in bits per second; null for no limit. */
export interface Rates {
  up: number | null;
  down: number | null;
}

/**
 * Checks rates.
 * @throws {TypeError | RangeError} that names `argument`.
 */
export function ratesOf(argument: string, given: Bandwidth | undefined): Rates {
  const { up, down } = check.options<Bandwidth>(argument, given);
  const rate = (name: string, value: RateLike | undefined): number | null =>
    value === undefined ? null : check.rate(`${argument}.${name}`, value);
  return { up: rate("up", up), down: rate("down", down) };
}

/** What each guest may use. */
export class BandwidthTable {
  #all: Rates;
  /** By MAC address in lower case, or IP address. */
  readonly #own = new Map<string, Rates>();

  /** @throws {TypeError | RangeError} that names what is wrong. */
  constructor(argument: string, given: BandwidthOptions | undefined) {
    this.#all = ratesOf(argument, given);
    const { guests } = check.options<BandwidthOptions>(argument, given);
    for (const [guest, own] of Object.entries(check.options(`${argument}.guests`, guests))) {
      const name = `${argument}.guests[${JSON.stringify(guest)}]`;
      this.#own.set(guestKey(name, guest), ratesOf(name, own));
    }
  }

  /** The rates of a guest that is known by these addresses. */
  of(addresses: readonly string[]): Rates {
    for (const address of addresses) {
      const own = this.#own.get(address);
      if (own !== undefined) return own;
    }
    return this.#all;
  }

  /** Changes what one guest may use, or with null for `guest` each that is not named; null for `rates` takes back what was said of a guest. */
  set(guest: string | null, rates: Rates | null): void {
    if (guest === null) this.#all = rates ?? { up: null, down: null };
    else if (rates === null) this.#own.delete(guest);
    else this.#own.set(guest, rates);
  }
}

/** A guest's MAC or IP address as the table has it. */
export function guestKey(argument: string, guest: string): string {
  const text = check.string(argument, guest);
  if (check.addressLiteral(text) !== null && !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) {
    return text.toLowerCase();
  }
  check.mac(argument, text);
  return text.toLowerCase();
}
