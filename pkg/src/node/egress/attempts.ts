/** Which of a name's addresses a connection is made to: the first that answers (RFC 8305). */

import type { Clock } from "../../types.js";
import { UNREACHABLE } from "./reasons.js";

/** RFC 8305 §8: the recommended Connection Attempt Delay, in milliseconds. */
const ATTEMPT_DELAY = 250;
/** Addresses of a name that are tried: its owner decides how many there are. */
const MOST_ATTEMPTS = 16;

/** What opening a connection came to: what was opened, or the code of why not. */
export type Outcome<Open> = { readonly open: Open } | { readonly code: string };

/** How attempts are made. */
export interface Attempts<Open> {
  readonly addresses: readonly string[];
  readonly clock: Clock;
  /** How long they may take together, in milliseconds. */
  readonly timeout: number;
  readonly signal: AbortSignal;
  /** Begins to connect, and calls `done` once, later. Returns how that is given up, after which `done` is not called. */
  begin(address: string, done: (outcome: Outcome<Open>) => void): () => void;
}

/** RFC 8305 §4: the families take turns, so that one that does not work costs one delay. The first address stays first. */
export function interleaved(addresses: readonly string[]): string[] {
  const isSix = (address: string): boolean => address.includes(":");
  const first = addresses[0] !== undefined && isSix(addresses[0]);
  const leading = addresses.filter((address) => isSix(address) === first);
  const other = addresses.filter((address) => isSix(address) !== first);
  return leading
    .flatMap((address, place) => [address, ...other.slice(place, place + 1)])
    .concat(other.slice(leading.length));
}

/**
 * Connects to the first address that answers: the next one is tried when one has failed, or has not answered for a while, and those that wait go on (RFC 8305 §5).
 * Codes of its own are ETIMEDOUT and, when the signal aborts, ECONNABORTED.
 */
export function connectFirst<Open>(attempts: Attempts<Open>): Promise<Outcome<Open>> {
  const { clock, signal, timeout } = attempts;
  const waiting = interleaved(attempts.addresses).slice(0, MOST_ATTEMPTS);
  return new Promise((resolve) => {
    const running = new Map<string, () => void>();
    const codes: string[] = [];
    let delay: unknown = null;
    const settle = (outcome: Outcome<Open>): void => {
      for (const timer of [deadline, delay]) clock.clearTimer(timer);
      signal.removeEventListener("abort", abort);
      for (const giveUp of running.values()) giveUp();
      resolve(outcome);
    };
    const next = (): void => {
      clock.clearTimer(delay);
      const address = waiting.shift();
      if (address === undefined) {
        // That somebody has refused says more than that there is no way to another.
        const code = codes.find((one) => !(one in UNREACHABLE)) ?? codes[0] ?? "EHOSTUNREACH";
        if (running.size === 0) settle({ code });
        return;
      }
      const giveUp = attempts.begin(address, (outcome) => {
        running.delete(address);
        if ("open" in outcome) return settle(outcome);
        codes.push(outcome.code);
        next();
      });
      running.set(address, giveUp);
      if (waiting.length > 0) delay = clock.setTimer(next, ATTEMPT_DELAY);
    };
    const abort = (): void => settle({ code: "ECONNABORTED" });
    const deadline = clock.setTimer(() => settle({ code: "ETIMEDOUT" }), timeout);
    if (signal.aborted) return abort();
    signal.addEventListener("abort", abort, { once: true });
    next();
  });
}
