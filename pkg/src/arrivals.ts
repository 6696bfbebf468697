/** What comes to a socket one after the other, connections or datagrams, for who asks for it: by calls, as an iteration, as a stream. */

import * as check from "./arguments.js";
import { SocketError, type SocketErrorOptions } from "./errors.js";
import { type Waiter, Waiters } from "./waiters.js";

/** See the module's comment. Nothing is taken before somebody asks for it. */
export class Arrivals<T> {
  /** Takes the next one that is there. */
  readonly #next: () => T | null;
  /** What errors name. */
  readonly #ends: () => SocketErrorOptions;
  readonly #waiters = new Waiters<T>();
  /** Settles the stream, once there is one. */
  #finishStream: (() => void) | null = null;
  #end: Error | null = null;

  constructor(next: () => T | null, ends: () => SocketErrorOptions) {
    this.#next = next;
    this.#ends = ends;
  }

  /** Why nothing comes any more, or null. */
  get end(): Error | null {
    return this.#end;
  }

  get isAwaited(): boolean {
    return this.#waiters.length > 0;
  }

  /** The next one that is there and that nobody waits for. */
  take(): T | null {
    return this.#end === null && this.#waiters.length === 0 ? this.#next() : null;
  }

  /** Waits for the next one. */
  async receive(options?: { signal?: AbortSignal }): Promise<T> {
    const signal = check.abortSignal("options.signal", check.options("options", options).signal);
    if (this.#end !== null) throw this.#end;
    return (signal?.aborted ? null : this.take()) ?? this.#waiters.wait(signal, this.#ends());
  }

  /** Something may have come. False if somebody still waits. */
  serve(): boolean {
    while (this.#waiters.length > 0) {
      const next = this.#next();
      if (next === null) return false;
      this.#waiters.resolve(next);
    }
    return true;
  }

  /** Nothing comes any more. What ABORT_ERR tells of is no failure to iterations and streams: they end. */
  finish(error: Error): void {
    this.#end ??= error;
    this.#waiters.rejectAll(error);
    this.#finishStream?.();
  }

  /** As {@link finish}, but who waits is not told. */
  vanish(error: Error): void {
    this.#end ??= error;
  }

  #isClosed(): boolean {
    return this.#end instanceof SocketError && this.#end.code === "ABORT_ERR";
  }

  /** All that comes. `return` ends a `next` that waits, which that of a generator does not. */
  iterate(): AsyncIterableIterator<T, void, undefined> {
    const done: IteratorReturnResult<void> = { done: true, value: undefined };
    const waiting = new Set<() => void>();
    let isOver = false;
    return {
      next: async () => {
        const value = isOver ? null : this.take();
        if (value !== null) return { done: false, value };
        if (isOver) return done;
        return new Promise<IteratorResult<T, void>>((resolve, reject) => {
          const leave = (): void => {
            this.#waiters.leave(waiter);
            resolve(done);
          };
          const waiter: Waiter<T> = {
            resolve(value) {
              waiting.delete(leave);
              resolve({ done: false, value });
            },
            reject: (error) => {
              waiting.delete(leave);
              const isFirst = !isOver;
              isOver = true;
              if (isFirst && !this.#isClosed()) reject(error);
              else resolve(done);
            },
          };
          if (this.#end !== null) {
            waiter.reject(this.#end);
            return;
          }
          waiting.add(leave);
          this.#waiters.join(waiter);
        });
      },
      return: async () => {
        isOver = true;
        for (const leave of waiting) leave();
        waiting.clear();
        return done;
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** All that comes, as a stream; `cancel` is called when nobody wants it. */
  stream(cancel: () => Promise<void>): ReadableStream<T> {
    return new ReadableStream<T>(
      {
        start: (controller) => {
          this.#finishStream = () => {
            if (this.#isClosed()) controller.close();
            else controller.error(this.#end);
          };
          if (this.#end !== null) this.#finishStream();
        },
        pull: (controller) =>
          this.receive().then(
            (next) => controller.enqueue(next),
            // The stream is told of that by `finish`.
            () => {},
          ),
        cancel: () => {
          this.#finishStream = null;
          return cancel();
        },
      },
      { highWaterMark: 0 },
    );
  }
}
