/** A connection whose first bytes were looked at, to find out what is spoken on it. */

import { holdProgram } from "../../../clock.js";
import type { Clock, Socket } from "../../../types.js";
import type { HttpSocket } from "../../http/connection.js";

/** More than enough to tell protocols apart. */
const PEEKED = 16;

/** See the module's comment. What was looked at is read again. */
export class PeekedSocket implements HttpSocket {
  readonly opened: Socket["opened"];
  readonly closed: Promise<void>;
  readonly remote: Socket["remote"];
  readonly local: Socket["local"];
  onready: ((socket: Socket) => void) | null = null;
  readonly #socket: Socket;
  #ahead = new Uint8Array(0);

  constructor(socket: Socket) {
    this.#socket = socket;
    this.opened = socket.opened;
    this.closed = socket.closed;
    this.remote = socket.remote;
    this.local = socket.local;
    socket.onready = (ready) => this.onready?.(ready);
    socket.opened.catch(() => {});
    socket.closed.catch(() => {});
  }

  /** The first bytes of the connection; none if it ends, or if none come in so many milliseconds. */
  async peek(clock: Clock, timeout: number): Promise<Uint8Array> {
    const into = new Uint8Array(PEEKED);
    const deadline = clock.now() + timeout;
    for (;;) {
      let count: number;
      try {
        count = this.#socket.tryRead(into);
      } catch {
        return this.#ahead;
      }
      if (count >= 0) {
        this.#ahead = into.slice(0, count);
        return this.#ahead;
      }
      const left = deadline - clock.now();
      if (left <= 0) return this.#ahead;
      await this.#wait(clock, left);
    }
  }

  #wait(clock: Clock, timeout: number): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        if (this.onready !== done) return;
        clock.clearTimer(timer);
        this.onready = null;
        resolve();
      };
      const timer = clock.setTimer(done, timeout);
      holdProgram(timer, false);
      this.onready = done;
      this.#socket.closed.then(done, done);
    });
  }

  tryRead(into: Uint8Array): number {
    if (this.#ahead.byteLength === 0) return this.#socket.tryRead(into);
    const count = Math.min(this.#ahead.byteLength, into.byteLength);
    into.set(this.#ahead.subarray(0, count));
    this.#ahead = this.#ahead.subarray(count);
    return count;
  }

  tryWrite(from: Uint8Array): number {
    return this.#socket.tryWrite(from);
  }

  get readableBytes(): number {
    return this.#ahead.byteLength + this.#socket.readableBytes;
  }

  get writableBytes(): number {
    return this.#socket.writableBytes;
  }

  shutdown(): void {
    this.#socket.shutdown();
  }

  close(reason?: unknown): Promise<void> {
    return this.#socket.close(reason);
  }

  abort(reason?: unknown): void {
    this.#socket.abort(reason);
  }
}
