/** What TLS runs over: bytes that are read and written without waiting, as a socket's layer below the streams does. */

import * as check from "../arguments.js";
import { deferred } from "../engine_core.js";
import { SocketError } from "../errors.js";
import type { Socket, SocketInfo } from "../types.js";

/** What TLS uses of a socket. */
export type Transport = Pick<
  Socket,
  | "opened"
  | "closed"
  | "remote"
  | "local"
  | "tryRead"
  | "tryWrite"
  | "writableBytes"
  | "shutdown"
  | "close"
  | "abort"
> & {
  /** TLS does not look at what it is called with: sockets have types of their own. */
  onready: ((socket: never) => void) | null;
};

/** Two streams of bytes, one each way. */
export interface StreamPair {
  /** What comes. */
  readonly readable: ReadableStream<Uint8Array>;
  /** Takes what goes. */
  readonly writable: WritableStream<Uint8Array<ArrayBuffer>>;
}

/** Whether this has the layer below streams. */
function isTransport(value: object): value is Transport {
  return ["tryRead", "tryWrite", "shutdown", "abort"].every(
    (name) => typeof (value as Record<string, unknown>)[name] === "function",
  );
}

/**
 * The transport that a caller means.
 * @throws {TypeError} if it is none, or its streams are locked.
 */
export function transportOf(argument: string, given: unknown): Transport {
  const pair = check.options<StreamPair>(argument, given as StreamPair);
  if (isTransport(pair)) return pair;
  const { readable, writable } = pair;
  if (!(readable instanceof ReadableStream) || !(writable instanceof WritableStream)) {
    throw new TypeError(
      `${argument} must be a socket or { readable, writable }, got ${check.show(given)}`,
    );
  }
  if (readable.locked || writable.locked) {
    throw new TypeError(`${argument}: its streams are locked by another reader or writer`);
  }
  return new StreamTransport(readable, writable);
}

/** What is known of streams. */
const NOWHERE: SocketInfo = { remoteAddress: "", localAddress: "", alpn: null };

/** Streams of any origin as a transport: one chunk that was read ahead, one write that is not finished. */
class StreamTransport implements Transport {
  readonly opened = Promise.resolve<SocketInfo>(NOWHERE);
  readonly closed: Promise<void>;
  readonly remote = { address: "", port: 0 };
  readonly local = null;
  onready: ((socket: Socket) => void) | null = null;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #closing = deferred<void>();
  #ahead: Uint8Array = new Uint8Array(0);
  #isReading = false;
  #readEnded = false;
  #isWriting = false;
  #writeEnded = false;
  #failure: Error | null = null;

  constructor(
    readable: ReadableStream<Uint8Array>,
    writable: WritableStream<Uint8Array<ArrayBuffer>>,
  ) {
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    this.closed = this.#closing.promise;
    this.#writer.closed.catch((error: unknown) => this.#fail(error));
  }

  tryRead(into: Uint8Array): number {
    if (this.#failure !== null) throw this.#failure;
    if (this.#ahead.byteLength === 0) {
      if (this.#readEnded) return 0;
      this.#readAhead();
      return -1;
    }
    const count = Math.min(this.#ahead.byteLength, into.byteLength);
    into.set(this.#ahead.subarray(0, count));
    this.#ahead = this.#ahead.subarray(count);
    return count;
  }

  /** TLS does not look at what it is called with. */
  #tell(): void {
    (this.onready as (() => void) | null)?.();
  }

  #readAhead(): void {
    if (this.#isReading) return;
    this.#isReading = true;
    this.#reader.read().then(
      ({ done, value }) => {
        this.#isReading = false;
        if (done) {
          this.#readEnded = true;
          this.#checkClosed();
        } else if (value instanceof Uint8Array) {
          this.#ahead = value;
        } else {
          this.#fail(new TypeError(`the stream below TLS gave ${check.show(value)} and no bytes`));
        }
        this.#tell();
      },
      (error: unknown) => this.#fail(error),
    );
  }

  /** The stream gets the bytes themselves: they must be nobody else's. */
  tryWrite(from: Uint8Array<ArrayBuffer>): number {
    if (this.#failure !== null) throw this.#failure;
    if (this.#writeEnded) {
      throw new SocketError("EPIPE", "the stream below TLS was written after its end");
    }
    if (this.#isWriting || from.byteLength === 0) return 0;
    this.#isWriting = true;
    // The next waits until the stream has done with this one, which is its back-pressure.
    this.#writer.write(from).then(
      () => {
        this.#isWriting = false;
        this.#tell();
      },
      // What the stream has failed with; a write may tell something else then.
      (error: unknown) =>
        this.#writer.closed.then(
          () => this.#fail(error),
          (reason) => this.#fail(reason),
        ),
    );
    return from.byteLength;
  }

  get writableBytes(): number {
    return this.#isWriting || this.#writeEnded || this.#failure !== null ? 0 : 64 * 1024;
  }

  shutdown(): void {
    if (this.#writeEnded || this.#failure !== null) return;
    this.#writeEnded = true;
    this.#writer.close().then(
      () => this.#checkClosed(),
      (error: unknown) => this.#fail(error),
    );
  }

  close(): Promise<void> {
    this.shutdown();
    this.#readEnded = true;
    this.#reader.cancel().catch(() => {});
    this.#closing.resolve();
    return this.closed;
  }

  abort(reason?: unknown): void {
    const options = reason === undefined ? undefined : { cause: reason };
    this.#fail(new SocketError("ABORT_ERR", "the stream below TLS was aborted", options));
  }

  #checkClosed(): void {
    if (this.#readEnded && this.#writeEnded) this.#closing.resolve();
  }

  #fail(reason: unknown): void {
    if (this.#failure !== null) return;
    const error = reason instanceof Error ? reason : new Error(String(reason));
    this.#failure = error;
    this.#reader.cancel(error).catch(() => {});
    this.#writer.abort(error).catch(() => {});
    this.#closing.reject(error);
    this.#tell();
  }
}
