/** Callers in line for the next of something: a connection, a datagram. */

import { SocketError, type SocketErrorOptions } from "./errors.js";

/** One of them. */
export interface Waiter<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** The error of an operation that its signal ended, between these ends. */
export function aborted(signal: AbortSignal, ends?: SocketErrorOptions): SocketError {
  const options = { ...ends, cause: signal.reason };
  return new SocketError("ABORT_ERR", "the operation was aborted", options);
}

/** First come, first served. */
export class Waiters<T> {
  readonly #line: Waiter<T>[] = [];

  get length(): number {
    return this.#line.length;
  }

  /** Waits for the next one, or for the signal. */
  wait(signal: AbortSignal | null, ends?: SocketErrorOptions): Promise<T> {
    if (signal?.aborted) return Promise.reject(aborted(signal, ends));
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        this.leave(waiter);
        if (signal !== null) reject(aborted(signal, ends));
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
      this.join(waiter);
    });
  }

  join(waiter: Waiter<T>): void {
    this.#line.push(waiter);
  }

  leave(waiter: Waiter<T>): void {
    const index = this.#line.indexOf(waiter);
    if (index >= 0) this.#line.splice(index, 1);
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
