/** What the look-alikes of one stack share: the stack, its clock, and what keeps the program running. */

import * as check from "../arguments.js";
import { holdProgram } from "../clock.js";
import { StackImpl } from "../stack.js";
import type { Clock, Stack } from "../types.js";
import { type Lookup, lookupOf } from "./lookup.js";

// The platform's, whatever a test puts in their place later.
const { setInterval, clearInterval } = globalThis;

/** As long as timers go. The interval does nothing: that it is there is what counts. */
const HOLDING = 2 ** 31 - 1;

/** Keeps the program running while anything holds it, as open handles do in Node. */
class Holds {
  #count = 0;
  #timer: ReturnType<typeof setInterval> | undefined;
  readonly #isIdle: boolean;

  /** Where time is not the process's own, whoever lets it go on keeps the program running. */
  constructor(clock: Clock) {
    this.#isIdle = clock.defer !== undefined;
  }

  add(): void {
    this.#count += 1;
    if (this.#count === 1 && !this.#isIdle) this.#timer = setInterval(() => {}, HOLDING);
  }

  remove(): void {
    this.#count -= 1;
    if (this.#count === 0) clearInterval(this.#timer);
  }
}

/** One handle's part in keeping the program running. */
export class Hold {
  readonly #holds: Holds;
  #wanted = true;
  #active = false;

  constructor(holds: Holds) {
    this.#holds = holds;
  }

  /** The handle is open, or not any more. */
  set open(open: boolean) {
    this.#change(open, this.#wanted);
  }

  /** Whether the handle, while it is open, keeps the program running: `ref` and `unref`. */
  get wanted(): boolean {
    return this.#wanted;
  }

  set wanted(wanted: boolean) {
    this.#change(this.#isOpen, wanted);
  }

  #isOpen = false;

  #change(isOpen: boolean, wanted: boolean): void {
    this.#isOpen = isOpen;
    this.#wanted = wanted;
    const active = isOpen && wanted;
    if (active === this.#active) return;
    this.#active = active;
    if (active) this.#holds.add();
    else this.#holds.remove();
  }
}

/** See the module's comment. */
export class NodeHost {
  readonly stack: StackImpl;
  readonly clock: Clock;
  /** `dns.lookup` of this stack. */
  readonly lookup: Lookup;
  readonly #holds: Holds;

  constructor(stack: Stack) {
    if (!(stack instanceof StackImpl)) {
      throw new TypeError(`stack must be made by createStack, got ${check.show(stack)}`);
    }
    this.stack = stack;
    this.clock = stack.engine.clock;
    this.#holds = new Holds(this.clock);
    this.lookup = lookupOf(stack);
  }

  hold(): Hold {
    return new Hold(this.#holds);
  }
}

/**
 * Fires once nothing has happened for a time. A touch costs no timer: one that fires early is armed again for the rest. As with Node's
 * sockets it keeps no program running.
 */
export class IdleTimer {
  readonly #clock: Clock;
  readonly #span: number;
  readonly #fire: () => void;
  #timer: unknown = null;
  #last: number;

  constructor(clock: Clock, span: number, fire: () => void) {
    this.#clock = clock;
    this.#span = span;
    this.#fire = fire;
    this.#last = clock.now();
    this.#arm(span);
  }

  /** Something has happened. */
  touch(): void {
    this.#last = this.#clock.now();
    if (this.#timer === null) this.#arm(this.#span);
  }

  clear(): void {
    if (this.#timer !== null) this.#clock.clearTimer(this.#timer);
    this.#timer = null;
  }

  #arm(delay: number): void {
    this.#timer = this.#clock.setTimer(() => this.#due(), delay);
    holdProgram(this.#timer, false);
  }

  #due(): void {
    this.#timer = null;
    const rest = this.#last + this.#span - this.#clock.now();
    // Timers of Node are right to a millisecond.
    if (rest >= 1) this.#arm(rest);
    else this.#fire();
  }
}
