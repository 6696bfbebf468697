/**
 * A socket as HTTP wants it: bytes that were read ahead, reads and writes that wait, one place that knows whether the
 * peer is still there. It uses the layer of {@link Socket} below the streams, which costs one call for each piece and
 * no object.
 */

import type { Clock, Socket } from "../../types.js";

/** What HTTP uses of a socket. */
export type HttpSocket = Pick<
  Socket,
  | "opened"
  | "closed"
  | "remote"
  | "onready"
  | "tryRead"
  | "tryWrite"
  | "shutdown"
  | "close"
  | "abort"
>;

/** The most that is handed to the stack in one call: enough for its largest window, small enough to be copied twice. */
const WRITE_SIZE = 256 * 1024;

/** What a read ahead asks for at first; heads longer than this make the buffer grow. */
const READ_AHEAD = 4096;

/** The peer was silent, or took nothing, for longer than allowed. */
export class StallError extends Error {
  override readonly name = "StallError";
}

/** Buffered, awaitable access to a socket. One reader and one writer at a time. */
export class Connection {
  readonly socket: HttpSocket;
  readonly #clock: Clock;
  /** Milliseconds without progress after which a read or a write fails. */
  readonly #stallTimeout: number;
  #buffer = new Uint8Array(READ_AHEAD);
  #start = 0;
  #end = 0;
  #readEnded = false;
  /** Why the socket is of no use any more. */
  #failure: unknown;
  #failed = false;
  #wakeReader: (() => void) | undefined;
  #wakeWriter: (() => void) | undefined;
  #onGone: ((reason: unknown) => void) | undefined;

  constructor(socket: HttpSocket, clock: Clock, stallTimeout: number) {
    this.socket = socket;
    this.#clock = clock;
    this.#stallTimeout = stallTimeout;
    socket.onready = () => this.#ready();
    // The rejection of `opened` says nothing that `closed` does not say as well.
    socket.opened.catch(() => {});
    socket.closed.then(
      () => this.#ready(),
      (error: unknown) => this.#fail(error),
    );
  }

  /** Bytes that were read ahead. The view is valid until the next call. */
  get buffered(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  /** Takes `count` bytes off the front of `buffered`. */
  consume(count: number): void {
    this.#start += count;
    if (this.#start === this.#end) {
      this.#start = 0;
      this.#end = 0;
    }
  }

  /**
   * Adds what arrives next to `buffered`; false at the end of the stream.
   * @throws {StallError} when nothing arrives in time, or the error that ended the connection.
   */
  async fill(timeout = this.#stallTimeout): Promise<boolean> {
    const before = this.#end - this.#start;
    for (;;) {
      const count = this.#readAhead();
      if (count !== -1) return count > 0;
      await this.#wait("reader", timeout);
      // Between the wake-up and this line `watch` may have read ahead what there was.
      if (this.#end - this.#start > before) return true;
    }
  }

  /**
   * Copies at least one byte to `into`, from what was read ahead or from the socket; 0 at the end of the stream.
   * Throws as `fill` does.
   */
  async read(into: Uint8Array): Promise<number> {
    for (;;) {
      const count = this.tryRead(into);
      if (count !== -1) return count;
      await this.#wait("reader", this.#stallTimeout);
    }
  }

  /** As `read`, but returns -1 where that would wait. */
  tryRead(into: Uint8Array): number {
    const ahead = Math.min(this.#end - this.#start, into.length);
    if (ahead > 0) {
      into.set(this.#buffer.subarray(this.#start, this.#start + ahead));
      this.consume(ahead);
      return ahead;
    }
    return this.#tryRead(into);
  }

  /**
   * Hands all of `bytes` to the stack.
   * @throws {StallError} when the peer takes nothing for too long, or the error that ended the connection.
   */
  async write(bytes: Uint8Array): Promise<void> {
    for (let offset = 0; offset < bytes.length; ) {
      if (this.#failed) throw this.#failure;
      const taken = this.socket.tryWrite(bytes.subarray(offset, offset + WRITE_SIZE));
      offset += taken;
      if (taken === 0) await this.#wait("writer", this.#stallTimeout);
    }
  }

  /**
   * Calls `onGone` once the peer has closed or reset the connection, until it is called with `undefined`. Meanwhile up
   * to `READ_AHEAD` bytes are read ahead, since the end of the stream comes after them.
   */
  watch(onGone: ((reason: unknown) => void) | undefined): void {
    this.#onGone = onGone;
    this.#checkGone();
  }

  /** Takes what was read so far for all that comes: who waits for more is told of the end. */
  endReading(): void {
    this.#readEnded = true;
    this.#wakeReader?.();
  }

  /** Sends FIN after what was written. */
  shutdown(): void {
    if (!this.#failed) this.socket.shutdown();
  }

  /** Ends the connection at once: the peer sees a reset and not the regular end of what was being sent. */
  abort(reason: unknown): void {
    this.socket.abort(reason);
  }

  /** Closes the connection and lets go of it. What was written is still sent. */
  close(): void {
    this.socket.close().catch(() => {});
  }

  #readAhead(): number {
    if (this.#end === this.#buffer.length) this.#makeRoom();
    const count = this.#tryRead(this.#buffer.subarray(this.#end));
    if (count > 0) this.#end += count;
    return count;
  }

  #makeRoom(): void {
    const unread = this.buffered;
    const target =
      unread.length > this.#buffer.length / 2
        ? new Uint8Array(this.#buffer.length * 2)
        : this.#buffer;
    target.set(unread);
    this.#buffer = target;
    this.#start = 0;
    this.#end = unread.length;
  }

  #tryRead(into: Uint8Array): number {
    if (this.#readEnded) return 0;
    // What arrived before a reset can still be read; the reset comes after it and is not a regular end.
    const count = this.socket.tryRead(into);
    if (count <= 0 && this.#failed) throw this.#failure;
    if (count === 0) this.#readEnded = true;
    return count;
  }

  #ready(): void {
    this.#wakeReader?.();
    this.#wakeWriter?.();
    this.#checkGone();
  }

  #fail(error: unknown): void {
    this.#failed = true;
    this.#failure = error;
    this.#ready();
  }

  #checkGone(): void {
    const onGone = this.#onGone;
    if (onGone === undefined) return;
    const readerWaits = this.#wakeReader !== undefined;
    while (
      !readerWaits &&
      !this.#readEnded &&
      !this.#failed &&
      this.#end - this.#start < READ_AHEAD
    ) {
      try {
        if (this.#readAhead() <= 0) break;
      } catch (error) {
        this.#failed = true;
        this.#failure = error;
      }
    }
    if (!this.#readEnded && !this.#failed) return;
    this.#onGone = undefined;
    onGone(this.#failed ? this.#failure : new Error("the peer closed the connection"));
  }

  /** Waits until the socket is ready for something. The caller tries again: it may not be what it waits for. */
  #wait(role: "reader" | "writer", timeout: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const done = () => {
        if (timer !== undefined) this.#clock.clearTimer(timer);
        if (role === "reader") this.#wakeReader = undefined;
        else this.#wakeWriter = undefined;
      };
      const timer = Number.isFinite(timeout)
        ? this.#clock.setTimer(() => {
            done();
            reject(
              new StallError(
                `the peer ${role === "reader" ? "sent" : "took"} nothing for ${timeout} ms`,
              ),
            );
          }, timeout)
        : undefined;
      const wake = () => {
        done();
        resolve();
      };
      if (role === "reader") this.#wakeReader = wake;
      else this.#wakeWriter = wake;
    });
  }
}
