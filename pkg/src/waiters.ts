/** Callers in line for the next of something: a connection, a datagram. */

import { SocketError } from "./errors.js";

interface Waiter<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** The error of an operation that its signal ended. */
export function aborted(signal: AbortSignal): SocketError {
  return new SocketError("ABORT_ERR", "the operation was aborted", { cause: signal.reason });
}

/** First come, first served. */
export class Waiters<T> {
  readonly #line: Waiter<T>[] = [];

  get length(): number {
    return this.#line.length;
  }

  /** Waits for the next one, or for the signal. */
  wait(signal: AbortSignal | null): Promise<T> {
    if (signal?.aborted) return Promise.reject(aborted(signal));
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        const index = this.#line.indexOf(waiter);
        if (index >= 0) this.#line.splice(index, 1);
        if (signal !== null) reject(aborted(signal));
      };
      const waiter: Waiter<T> = {
        resolve(value) {
          signal?.removeEventListener("abort", onAbort);
          resolve(value);
        },
        reject(error) {
          signal?.removeEventListener("abort", onAbort);
          reject(error);
        },
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#line.push(waiter);
    });
  }

  /** Serves the first in line. */
  resolve(value: T): void {
    this.#line.shift()?.resolve(value);
  }

  /** Sends everybody away. */
  rejectAll(error: unknown): void {
    for (const waiter of this.#line.splice(0)) waiter.reject(error);
  }
}
