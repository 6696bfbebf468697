/**
 * Virtual time. It stands still but for `run`, `until` and `step`, and then goes like this:
 *
 * 1. all work that is due is done, and events are delivered in their order;
 * 2. the program has its turn, until it has settled: for {@link QUIET_TURNS} turns of the event loop nobody has called into the world;
 * 3. if what was waited for has come, that is the end; else time jumps to the next deadline, of a stack or of the program.
 *
 * How long any of this takes in real time makes no difference, so that a run depends on the seed and the program alone.
 */

import { macrotask } from "../clock.js";
import type { Clock } from "../types.js";
import { TimerQueue } from "./timer_queue.js";

/** Turns of the event loop without a call into the world after which the program waits for something. */
const QUIET_TURNS = 8;
/** Turns in which the program calls into the world again and again at the same moment, after which that is an error. */
const MOST_TURNS = 100_000;
/** Jumps during which the program has nothing to do, after which the event loop has a turn for what else is in the process. */
const JUMPS_IN_A_TURN = 1_000;
const MICROSECONDS = 1_000;

/** Deadlines that are kept elsewhere: those of replaced timers. */
export interface OtherTimers {
  /** When the first is due, in microseconds; infinite if there is none. */
  readonly due: number;
  /** Time has come to `now`; what is due is not run. */
  moved(now: number): void;
  /** Runs one that is due. */
  fire(): void;
  /** Those that wait, by what they were set with. */
  list(): { due: number; label: string }[];
}

/** What the scheduler needs of its world. */
export interface Surroundings {
  /** Changes when somebody was told of something, who may go on now. */
  news(): number;
  /** Who waits for what, a line each. */
  waits(): string[];
  /** Whether a timer's callback is the engine's own, of which the program learns by {@link news} alone. */
  isDeadline(callback: () => void): boolean;
}

/** What somebody waits for. */
interface Goal {
  readonly what: string;
  /** Whether it has come; an error it throws ends the goal. */
  isReached(): boolean;
  /** Time goes no further while this goal is there. */
  readonly stop: number;
  /** It fails if time comes here. */
  readonly limit: number;
  settle(error: Error | null): void;
}

/** A promise that time waits for. */
interface Hold {
  readonly settled: Promise<unknown>;
  readonly label: string;
}

/** Nothing will happen any more, or not in time. */
export class WorldStuckError extends Error {
  /** Who waits for what. */
  readonly waits: readonly string[];

  constructor(message: string, waits: readonly string[]) {
    super([message, ...waits.map((line) => `  ${line}`)].join("\n"));
    this.name = "WorldStuckError";
    this.waits = waits;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => macrotask(resolve));

/** See the module's comment. */
export class Scheduler {
  readonly #surroundings: Surroundings;
  readonly #timers = new TimerQueue();
  readonly #goals = new Set<Goal>();
  readonly #holds = new Set<Hold>();
  #works: (() => void)[] = [];
  #flushing = false;
  #now = 0;
  /** Calls into the world so far. */
  #calls = 0;
  /** The news when the program had settled last. */
  #newsBefore = -1;
  #callsBefore = -1;
  #driving = false;
  #isFrozen = false;
  #over: Error | null = null;
  /** Timers of the program that are kept elsewhere. */
  others: OtherTimers | null = null;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** Microseconds since the world began. */
  get now(): number {
    return this.#now;
  }

  /** Somebody has called into the world, or may be about to: the program has not settled. */
  called(): void {
    this.#calls += 1;
  }

  /** What an engine is given as its clock; `start` is the date at which the world begins, in milliseconds since 1970. */
  engineClock(start: number): Clock {
    return {
      now: () => this.#now / MICROSECONDS,
      date: () => start + this.#now / MICROSECONDS,
      setTimer: (callback, delay) =>
        this.#add(callback, delay, !this.#surroundings.isDeadline(callback), null),
      clearTimer: (timer) => this.#timers.cancel(timer),
      defer: (work) => {
        this.#calls += 1;
        this.#works.push(work);
        if (this.#driving) this.#flushSoon();
      },
      hold: (promise) => this.#whenHeld(promise),
    };
  }

  /** A timer of the program's. */
  setTimer(callback: () => void, delay: number, label: string): unknown {
    this.#calls += 1;
    return this.#add(callback, delay, true, label);
  }

  clearTimer(timer: unknown): void {
    this.#calls += 1;
    this.#timers.cancel(timer);
  }

  #add(callback: () => void, delay: number, yields: boolean, label: string | null): unknown {
    const due = this.#now + Math.max(0, Math.round(delay * MICROSECONDS));
    return this.#timers.add({ due, callback, yields, label });
  }

  /**
   * As the promise, but at the same moment of a run whether that has settled already or takes a while: when all else that is due now is done. Time stands still meanwhile.
   */
  #whenHeld<T>(promise: Promise<T>): Promise<T> {
    promise.catch(() => {});
    return new Promise((resolve, reject) => {
      const goOn = (): void => {
        this.hold(promise, "what is loaded");
        promise.then(resolve, reject);
      };
      this.#add(goOn, 0, true, null);
    });
  }

  /** Time stands still until the promise has settled. */
  hold(promise: Promise<unknown>, label: string): void {
    this.#calls += 1;
    const settled = promise.then(
      () => {},
      () => {},
    );
    const hold = { settled, label };
    this.#holds.add(hold);
    void settled.then(() => {
      this.#holds.delete(hold);
      this.#calls += 1;
    });
  }

  /** Whether somebody has let time go on, and it stands still for what is held. */
  get isHeld(): boolean {
    return this.#goals.size > 0 && this.#holds.size > 0;
  }

  /** Lets time go on until the goal is reached; `stopAfter` and `limit` are spans in milliseconds. */
  reach(goal: {
    what: string;
    isReached: () => boolean;
    stopAfter?: number;
    limit?: number;
  }): Promise<void> {
    if (this.#over !== null) return Promise.reject(this.#over);
    this.#isFrozen = false;
    const after = (span = Number.POSITIVE_INFINITY) => this.#now + Math.round(span * MICROSECONDS);
    return new Promise((resolve, reject) => {
      const added: Goal = {
        what: goal.what,
        isReached: goal.isReached,
        stop: after(goal.stopAfter),
        limit: after(goal.limit),
        settle: (error) => {
          this.#goals.delete(added);
          this.#calls += 1;
          if (error === null) resolve();
          else reject(error);
        },
      };
      this.#goals.add(added);
      if (!this.#driving) void this.#drive();
    });
  }

  /** Time stands still, whatever is waited for, until somebody waits for something more. */
  freeze(): void {
    this.#isFrozen = true;
  }

  /** A function of the program's has failed, for whoever waits; false if nobody does. */
  fail(error: Error): boolean {
    const goals = [...this.#goals];
    for (const goal of goals) goal.settle(error);
    return goals.length > 0;
  }

  /** Ends everything. */
  close(error: Error): void {
    this.#over ??= error;
    for (const goal of [...this.#goals]) goal.settle(error);
    this.#timers.clear();
    this.#works = [];
  }

  async #drive(): Promise<void> {
    this.#driving = true;
    try {
      // Whoever has called goes on before the world does.
      await turn();
      for (let jumps = 0; this.#goals.size > 0 && !this.#isFrozen; jumps += 1) {
        if (this.#hasNews() || this.#works.length > 0 || this.#holds.size > 0) {
          await this.#settle();
        } else if (jumps % JUMPS_IN_A_TURN === 0) {
          await turn();
        }
        if (!this.#isFrozen && !this.#finish()) this.#jump();
      }
    } catch (error) {
      this.fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      this.#driving = false;
    }
  }

  /** Whether the program may have something to do that it had not when it settled last. */
  #hasNews(): boolean {
    return this.#calls !== this.#callsBefore || this.#surroundings.news() !== this.#newsBefore;
  }

  async #settle(): Promise<void> {
    for (let quiet = 0, turns = 0; quiet < QUIET_TURNS; turns += 1) {
      this.#flush();
      const calls = this.#calls;
      if (this.#holds.size > 0) {
        await Promise.race([...this.#holds].map(({ settled }) => settled));
        turns = 0;
      }
      await turn();
      quiet = calls === this.#calls && this.#holds.size === 0 ? quiet + 1 : 0;
      if (turns > MOST_TURNS) {
        throw new WorldStuckError(
          `time stands still at ${this.#showNow()}: for ${MOST_TURNS} turns of the event loop the program has called into the world in each, and so never waits`,
          this.#surroundings.waits(),
        );
      }
    }
    this.#callsBefore = this.#calls;
    this.#newsBefore = this.#surroundings.news();
  }

  /** The engine works in a microtask after the calls that gave it work, as in real time. */
  #flushSoon(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    queueMicrotask(() => {
      this.#flushing = false;
      this.#flush();
    });
  }

  #flush(): void {
    for (let rounds = 0; this.#works.length > 0; rounds += 1) {
      const works = this.#works;
      this.#works = [];
      for (const work of works) work();
      // The rest is done in a turn of its own, where those are counted.
      if (rounds === JUMPS_IN_A_TURN) return;
    }
  }

  /** Settles the goals that are reached, or cannot be; true if there were any. */
  #finish(): boolean {
    let any = false;
    for (const goal of [...this.#goals]) {
      let failure: Error | null = null;
      try {
        if (!goal.isReached() && !this.#isDoneAt(goal.stop)) {
          if (!this.#isDoneAt(goal.limit)) continue;
          failure = new WorldStuckError(
            `${goal.what}: not in the time allowed; it is ${this.#showNow()} now`,
            this.#surroundings.waits(),
          );
        }
      } catch (error) {
        failure = error instanceof Error ? error : new Error(String(error));
      }
      goal.settle(failure);
      any = true;
    }
    return any;
  }

  /** When something is due next, in microseconds; infinite for never. */
  get #due(): number {
    return Math.min(this.#timers.first?.due ?? Infinity, this.others?.due ?? Infinity);
  }

  /** Whether this time has come, and all that was due by then is done. */
  #isDoneAt(time: number): boolean {
    return this.#now >= time && this.#due > this.#now;
  }

  /** Goes to the next deadline, and runs what is due there. */
  #jump(): void {
    let to = this.#due;
    for (const { stop } of this.#goals) to = Math.min(to, stop);
    if (to === Number.POSITIVE_INFINITY) {
      // The newest first: those before may wait for what it is part of.
      const newest = [...this.#goals].at(-1);
      newest?.settle(
        new WorldStuckError(
          `${newest.what}: nothing is due any more at ${this.#showNow()}. ${this.#hint()}`,
          this.#surroundings.waits(),
        ),
      );
      return;
    }
    for (const { limit } of this.#goals) to = Math.min(to, limit);
    this.#now = Math.max(this.#now, to);
    this.others?.moved(this.#now);
    this.#fire();
  }

  /** Why the world may not know what somebody waits for. */
  #hint(): string {
    const held =
      "What happens outside of the world (files, thread pool, real sockets) has to be held: world.hold(promise)";
    if (this.others !== null) return held;
    return `${held}. Timers of the process are outside of it, too: use world.clock, or createWorld({ fakeTimers: true })`;
  }

  /** Runs the engine's deadlines that are due, and at most one timer of others, who have their turn then. */
  #fire(): void {
    for (;;) {
      const timer = this.#timers.take(this.#now);
      if (timer === null) break;
      timer.callback();
      if (!timer.yields) continue;
      this.#calls += 1;
      return;
    }
    if (this.others !== null && this.others.due <= this.#now) {
      this.#calls += 1;
      this.others.fire();
    }
  }

  /** The timers of the program that wait, and what time is held for. */
  waits(): string[] {
    const timers = [...this.#timers.list(), ...(this.others?.list() ?? [])]
      .filter(({ label }) => label !== null)
      .sort((a, b) => a.due - b.due)
      .map(({ label, due }) => `${label}, due at ${show(due)}`);
    return [...timers, ...[...this.#holds].map(({ label }) => `world.hold: ${label}`)];
  }

  #showNow(): string {
    return show(this.#now);
  }
}

/** A time as people read it. */
export function show(micros: number): string {
  const seconds = micros / 1_000_000;
  return micros < 1_000_000 ? `${micros / 1_000} ms` : `${Number(seconds.toFixed(6))} s`;
}
