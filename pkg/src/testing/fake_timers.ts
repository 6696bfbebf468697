/** The process's own timers and dates on a world's clock, by @sinonjs/fake-timers. */

import { syncBuiltinESMExports } from "node:module";
import perfHooks from "node:perf_hooks";
import timersPromises, { scheduler } from "node:timers/promises";
import type { FakeMethod, withGlobal } from "@sinonjs/fake-timers";
import type { OtherTimers } from "./scheduler.js";

/** What is replaced. Microtasks, immediates and `process.nextTick` stay: they take no time. */
const REPLACED: FakeMethod[] = [
  "setTimeout",
  "clearTimeout",
  "setInterval",
  "clearInterval",
  "Date",
  "Intl",
  "performance",
  "hrtime",
];
const MICROSECONDS = 1_000;

type Installed = ReturnType<ReturnType<typeof withGlobal>["install"]>;

/** What is read of the library's own table of timers, since it has no call that tells when the next one is due. */
interface Inside {
  readonly timers?: Map<unknown, { readonly callAt: number; readonly type: string }>;
  readonly timerHeap?: { peek(): { readonly callAt: number } | undefined };
}

/** Whose timers they are now. */
let installed: FakeTimers | null = null;

/** Timers of the process in virtual time. */
export class FakeTimers implements OtherTimers {
  readonly #clock: Installed & Inside;
  readonly #start: number;
  readonly #restore: () => void;

  /**
   * Replaces the timers; `called` is told whenever one is set or cleared.
   * @throws {TypeError} if another world has them.
   */
  static async install(start: number, called: () => void): Promise<FakeTimers> {
    const { withGlobal } = await import("@sinonjs/fake-timers");
    if (installed !== null) {
      throw new TypeError("fakeTimers: another world has the timers; close it first");
    }
    installed = new FakeTimers(withGlobal(globalThis), start, called);
    return installed;
  }

  private constructor(library: ReturnType<typeof withGlobal>, start: number, called: () => void) {
    this.#start = start;
    const clock = library.install({ now: start, toFake: REPLACED, ignoreMissingTimers: true });
    this.#clock = clock as Installed & Inside;
    // Node has no timer of less than a millisecond: a loop over `setTimeout(0)` lets time pass.
    const atLeast = (name: "setTimeout" | "setInterval"): void => {
      const set = clock[name] as (callback: unknown, delay?: number, ...rest: unknown[]) => unknown;
      const replaced = (callback: unknown, delay?: number, ...rest: unknown[]): unknown => {
        called();
        const span = Number(delay);
        const timer = set(callback, span >= 1 ? span : 1, ...rest);
        return completed(timer, {
          clear: () => clock.clearTimeout(timer as never),
          // The clock is the next world's then, or the platform's.
          again: () => globalThis[name](callback as () => void, delay, ...rest),
          isOver: () => isOver,
          called,
        });
      };
      clock[name] = replaced as never;
      undo.push(() => {
        clock[name] = set as never;
      });
    };
    const undo: (() => void)[] = [];
    let isOver = false;
    atLeast("setTimeout");
    atLeast("setInterval");
    const { timeout } = AbortSignal;
    AbortSignal.timeout = (milliseconds: number): AbortSignal => {
      const controller = new AbortController();
      const reason = (): DOMException =>
        new DOMException("The operation was aborted due to timeout", "TimeoutError");
      setTimeout(() => controller.abort(reason()), milliseconds);
      return controller.signal;
    };
    // Its function is not among those of the module, which the library replaces.
    const { wait } = scheduler;
    scheduler.wait = (delay, options) => timersPromises.setTimeout(delay, undefined, options);
    const restorePerformance = replacePerformance(start);
    const { uptime } = process;
    process.uptime = () => performance.now() / 1_000;
    this.#restore = () => {
      isOver = true;
      process.uptime = uptime;
      restorePerformance();
      AbortSignal.timeout = timeout;
      scheduler.wait = wait;
      // The library keeps notes for the end at its own functions.
      for (const restore of undo) restore();
      clock.uninstall();
      syncBuiltinESMExports();
    };
    // What `import { setTimeout } from "node:timers/promises"` names is not the property that was replaced until it is told.
    syncBuiltinESMExports();
  }

  get due(): number {
    const { timerHeap, timers } = this.#clock;
    const next =
      timerHeap?.peek()?.callAt ??
      Math.min(
        ...Array.from(timers?.values() ?? [], ({ callAt = Number.POSITIVE_INFINITY }) => callAt),
      );
    return (next - this.#start) * MICROSECONDS;
  }

  list(): { due: number; label: string }[] {
    const timers = this.#clock.timers?.values() ?? [];
    return Array.from(timers, ({ callAt = Number.POSITIVE_INFINITY, type = "Timeout" }) => ({
      due: (callAt - this.#start) * MICROSECONDS,
      label: type === "Interval" ? "setInterval" : "setTimeout",
    }));
  }

  moved(now: number): void {
    const to = this.#start + Math.floor(now / MICROSECONDS);
    // Not over what is due: that is run by `fire`.
    const span = Math.min(to, this.#start + this.due / MICROSECONDS - 1) - this.#clock.now;
    if (span > 0) this.#clock.tick(span);
  }

  fire(): void {
    this.#clock.next();
  }

  /** Gives the process its own timers back. */
  uninstall(): void {
    if (installed === this) installed = null;
    this.#restore();
  }
}

/**
 * Marks and measures are the platform's, at the clock's times: the library's own have none. Both faces of `performance` have them, the global one, which the library has replaced, and
 * that of `node:perf_hooks`. Returns what undoes it.
 */
function replacePerformance(start: number): () => void {
  const real = perfHooks.performance;
  const mark: Performance["mark"] = (name, options) =>
    Performance.prototype.mark.call(real, name, { startTime: real.now(), ...options });
  const measure = (
    name: string,
    from?: string | PerformanceMeasureOptions,
    to?: string,
  ): PerformanceMeasure => {
    const given: PerformanceMeasureOptions =
      typeof from === "object" ? from : { ...(from && { start: from }), ...(to && { end: to }) };
    const isWhole = given.start !== undefined && given.duration !== undefined;
    const span = isWhole || given.end !== undefined ? given : { ...given, end: real.now() };
    return Performance.prototype.measure.call(real, name, span);
  };
  const replaced = Object.entries({ mark, measure, timeOrigin: start });
  for (const [name, value] of replaced) {
    Object.defineProperty(real, name, { configurable: true, writable: true, value });
  }
  const faked: object = globalThis.performance;
  if (faked !== real) {
    for (const name of Object.getOwnPropertyNames(Performance.prototype)) {
      const value: unknown = Reflect.get(real, name);
      if (typeof value !== "function" || name === "now" || name === "constructor") continue;
      Object.defineProperty(faked, name, { configurable: true, value: value.bind(real) });
    }
  }
  return () => {
    for (const [name] of replaced) Reflect.deleteProperty(real, name);
  };
}

/** What a timer of the library's lacks. */
interface Completing {
  clear(): void;
  /** Sets it on the clock that there is. */
  again(): unknown;
  /** Whether its own clock is gone. */
  isOver(): boolean;
  called(): void;
}

/**
 * `using` ends it, as it does with Node's own. A library may keep one timer for as long as it is loaded and refresh it when there is something to wait for, as undici does: that
 * counts on the clock of then.
 */
function completed(timer: unknown, { clear, again, isOver, called }: Completing): unknown {
  if (typeof timer !== "object" || timer === null) return timer;
  const own = timer as NodeJS.Timeout;
  const refresh = own.refresh.bind(own);
  let successor: NodeJS.Timeout | null = null;
  return Object.assign(own, {
    [Symbol.dispose]: clear,
    refresh() {
      called();
      if (!isOver()) refresh();
      else if (successor !== null) successor.refresh();
      else {
        const next = again() as NodeJS.Timeout;
        if (!own.hasRef()) next.unref();
        successor = next;
      }
      return timer;
    },
  });
}
