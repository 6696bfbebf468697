/** Real time, and a way to go on after everything else that waits in the event loop had its turn. */

import type { Clock } from "./types.js";

// The platform's, whatever a test puts in their place later: fake timers hold up programs, not networks.
const { setTimeout: later, clearTimeout: never, queueMicrotask: microtask } = globalThis;

export { microtask };

/** Milliseconds of the platform's own clock, which never goes back. */
export const monotonic: () => number = performance.now.bind(performance);

/** Time since the page or process began, and the platform's timers. */
export const realClock: Clock = {
  now: monotonic,
  // A part of a millisecond would be cut off, and the timer early.
  setTimer: (callback, delay) => later(callback, Math.ceil(delay)),
  clearTimer: (timer) => never(timer as ReturnType<typeof setTimeout>),
};

/** What Node's timers have beyond the standard. */
interface NodeTimer {
  ref(): unknown;
  unref(): unknown;
}

/** Lets a program end although the timer runs, or not. Does nothing where timers don't hold a program. */
export function holdProgram(timer: unknown, hold: boolean): void {
  if (typeof timer !== "object" || timer === null || !("unref" in timer)) return;
  const nodeTimer = timer as NodeTimer;
  if (hold) nodeTimer.ref();
  else nodeTimer.unref();
}

type Task = () => void;

/** Runs a task as a macrotask of its own, soon: timers of 0 ms would be held up to 4 ms by browsers. */
export const macrotask: (task: Task) => void = (() => {
  const immediate = (globalThis as { setImmediate?: (task: Task) => unknown }).setImmediate;
  if (typeof immediate === "function") return (task: Task) => void immediate(task);
  let channel: MessageChannel | undefined;
  const waiting: Task[] = [];
  return (task: Task) => {
    if (channel === undefined) {
      channel = new MessageChannel();
      channel.port1.onmessage = () => waiting.shift()?.();
    }
    waiting.push(task);
    channel.port2.postMessage(null);
  };
})();

/** Reports what a callback of the application threw, as the platform does for event listeners. */
export function reportUncaught(error: unknown): void {
  if (typeof reportError === "function") reportError(error);
  else
    microtask(() => {
      throw error;
    });
}
