/** A pair of web streams as a port: WebTransport's datagrams, a stack's own socket, a serial line, anything that is piped. */

import * as check from "../arguments.js";
import { SocketError } from "../errors.js";
import type { LinkPort, PortEnd, StreamPortOptions } from "../types.js";
import { type Link, type LinkEvents, LinkPortImpl, linkOptions, nameOf } from "./link_port.js";

/**
 * A port over two streams, which it locks: frames for the network are read from `readable`, and no faster than the network deals with them; frames from the
 * network go to `writable`, and wait in the engine while it has `options.queue` bytes to do. The end or an error of either closes the
 * port; closing the port cancels the one and closes the other.
 * @throws TypeError if a stream is locked.
 */
export function streamPort(
  readable: ReadableStream<Uint8Array>,
  writable: WritableStream<Uint8Array>,
  options: StreamPortOptions = {},
): LinkPort {
  const given = check.options("options", options);
  const name = nameOf(given, "stream");
  const plan = linkOptions(given);
  // Not `instanceof`: a polyfill's streams are streams.
  if (typeof (readable as Partial<ReadableStream> | null)?.getReader !== "function") {
    throw new TypeError(`readable must be a ReadableStream, got ${check.show(readable)}`);
  }
  if (typeof (writable as Partial<WritableStream> | null)?.getWriter !== "function") {
    throw new TypeError(`writable must be a WritableStream, got ${check.show(writable)}`);
  }
  return new LinkPortImpl<PortEnd>(name, {
    ...plan,
    make: (events) => new StreamLink(readable, writable, plan.queue, events),
    end: (error) => ({ error }),
  });
}

class StreamLink implements Link {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #queue: number;
  readonly #events: LinkEvents<PortEnd>;
  /** Bytes that the writable stream has and is not done with. */
  #pending = 0;
  #isOver = false;

  constructor(
    readable: ReadableStream<Uint8Array>,
    writable: WritableStream<Uint8Array>,
    queue: number,
    events: LinkEvents<PortEnd>,
  ) {
    this.#writer = writable.getWriter();
    try {
      this.#reader = readable.getReader();
    } catch (error) {
      this.#writer.releaseLock();
      throw error;
    }
    this.#queue = queue;
    this.#events = events;
    this.#writer.closed.then(
      () => this.#over(null),
      // Who takes no more and gives no reason, as a port does that ends, has not failed.
      (cause) => this.#over(cause === null || cause === undefined ? null : lost(cause)),
    );
    events.opened();
    void this.#read();
  }

  async #read(): Promise<void> {
    try {
      for (;;) {
        const { value, done } = await this.#reader.read();
        if (done) break;
        this.#events.received(value);
        await this.#events.taken();
      }
      this.#over(null);
    } catch (cause) {
      this.#over(lost(cause));
    }
  }

  get isWritable(): boolean {
    return !this.#isOver && this.#pending <= this.#queue;
  }

  send(bytes: Uint8Array<ArrayBuffer>): boolean {
    const { byteLength } = bytes;
    this.#pending += byteLength;
    const written = (): void => {
      const wasFull = !this.isWritable;
      this.#pending -= byteLength;
      if (wasFull && this.isWritable) this.#events.writable();
    };
    // An error is told by `closed` as well.
    this.#writer.write(bytes).then(written, () => {});
    return true;
  }

  #over(error: SocketError | null): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // What is written is still delivered, unless something is wrong. Nobody waits for it: the other side may never take it.
    const writer = this.#writer;
    (error === null ? writer.close() : writer.abort(error)).catch(() => {});
    this.#reader.cancel(error).catch(() => {});
    this.#events.ended({ error });
  }

  end(): void {
    this.#over(null);
  }
}

function lost(cause: unknown): SocketError {
  return new SocketError("ECONNRESET", "the stream failed", { cause });
}
