/**
 * The web streams of a socket. They hold no bytes of their own: nothing is taken from the stack before somebody reads,
 * and a write settles only when the stack's send buffer has taken it, so that back-pressure reaches the TCP window.
 */

import * as check from "./arguments.js";
import { macrotask, microtask } from "./clock.js";
import type { BufferSource } from "./platform.js";
import type { SocketImpl } from "./socket.js";

/** What streams need of a socket, which may be in another thread. */
export type StreamSocket = Pick<
  SocketImpl,
  | "tryRead"
  | "tryReadChunk"
  | "tryWrite"
  | "shutdown"
  | "abort"
  | "end"
  | "writeError"
  | "endDelivered"
> &
  // Nobody else may hold a socket that something waits on.
  Partial<Pick<SocketImpl, "hold">>;

/** Most bytes in one chunk of `readable`. */
const CHUNK = 256 * 1024;

/** The readable side and what its socket tells it. */
export interface ReadableSide {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  /** Whether somebody waits for bytes. */
  readonly isWaiting: boolean;
  /** Whether the socket must not be collected: somebody waits for bytes, or they are thrown away as they come. */
  readonly holds: boolean;
  /** Bytes, or their end, may have arrived. */
  proceed(): void;
  /** The connection is over. */
  finish(error: Error | null): void;
}

/** The writable side and what its socket tells it. */
export interface WritableSide {
  readonly stream: WritableStream<BufferSource>;
  /** Whether a write waits for room. */
  readonly isWaiting: boolean;
  /** Whether the socket must not be collected: something that was written is still here. */
  readonly holds: boolean;
  /** Room may have come. */
  proceed(): void;
  /** Sends FIN once nothing that was written waits any more. */
  closeWhenIdle(): void;
  /** The connection is over: by an error or by `close`, or with null in good order. What is written from now on, and a write that waits, fails. */
  finish(error: unknown): void;
}

/** Makes the readable stream of a socket. */
export function readableOf(socket: StreamSocket): ReadableSide {
  let controller: ReadableByteStreamController;
  let state: "open" | "discarding" | "done" = "open";
  /** Whether a reader waits for what has not arrived. */
  let isWaiting = false;

  const close = (): void => {
    state = "done";
    try {
      controller.close();
      // A pending BYOB read is answered by hand when its stream closes.
      controller.byobRequest?.respond(0);
    } catch {
      // The last bytes fill a part of an element of the reader's view: the stream has failed with that, the reader
      // is told, and the connection ends as it would have.
    }
  };

  /** Moves what has arrived to the reader that asked. False if there is nothing yet. */
  const move = (): boolean => {
    const request = controller.byobRequest;
    const view = request?.view;
    if (request && view) {
      const count = socket.tryRead(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
      if (count < 0) return false;
      if (count > 0) {
        request.respond(count);
        return true;
      }
    } else {
      const chunk = socket.tryReadChunk(CHUNK);
      if (chunk === null) return false;
      if (chunk.byteLength > 0) {
        controller.enqueue(chunk);
        return true;
      }
    }
    close();
    socket.endDelivered();
    return true;
  };

  const deliver = (): void => {
    isWaiting = false;
    try {
      // What is handed over may ask for more at once, and be told that there is none.
      if (!move()) {
        isWaiting = true;
        socket.hold?.();
      }
    } catch (error) {
      state = "done";
      controller.error(error);
    }
  };

  const discard = (): void => {
    try {
      for (;;) {
        const chunk = socket.tryReadChunk(CHUNK);
        if (chunk === null) return;
        if (chunk.byteLength === 0) break;
      }
      socket.endDelivered();
    } catch {
      // The error that ended the connection is told by `closed`.
    }
    state = "done";
  };

  const stream = new ReadableStream<Uint8Array<ArrayBuffer>>(
    {
      type: "bytes",
      start(given) {
        controller = given as ReadableByteStreamController;
        if (socket.end?.error) {
          state = "done";
          controller.error(socket.end.error);
        } else if (socket.end !== null) close();
      },
      // Not a promise until there are bytes: what comes later is handed over when it comes, which takes fewer steps.
      pull() {
        if (state === "open") deliver();
      },
      cancel() {
        // What still comes is thrown away, so that the peer is not stalled by a window that nobody opens.
        state = "discarding";
        socket.hold?.();
        discard();
      },
    },
    { highWaterMark: 0 },
  );

  return {
    stream,
    get isWaiting() {
      return state === "open" && isWaiting;
    },
    get holds() {
      return state === "discarding" || (state === "open" && isWaiting);
    },
    proceed() {
      if (state === "discarding") discard();
      else if (state === "open" && isWaiting) deliver();
    },
    finish(error) {
      if (state !== "open") return;
      if (error === null) close();
      else {
        state = "done";
        controller.error(error);
      }
    },
  };
}

/** Makes the writable stream of a socket. */
export function writableOf(socket: StreamSocket): WritableSide {
  /** Chunks that `write` was called with and that the stack has not taken. */
  let waiting = 0;
  let closeAtZero = false;
  /** Settles the write that waits for room. */
  let wake: (() => void) | null = null;

  let controller: WritableStreamDefaultController;
  const resume = (): void => {
    const settle = wake;
    wake = null;
    settle?.();
  };

  const written = (): void => {
    waiting -= 1;
    if (closeAtZero && waiting === 0) socket.shutdown();
  };

  const writeRest = async (rest: Uint8Array): Promise<void> => {
    let from = rest;
    while (from.byteLength > 0) {
      socket.hold?.();
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      // The caller may have transferred the memory meanwhile.
      from = unlessBroken(() => from.subarray(socket.tryWrite(from)));
    }
    written();
  };

  /** A chunk that cannot be sent breaks the stream, and the peer must not take what came before for all of it. */
  const unlessBroken = (step: () => Uint8Array): Uint8Array => {
    try {
      return step();
    } catch (error) {
      socket.abort(error);
      throw error;
    }
  };

  const stream = new WritableStream<BufferSource>(
    {
      start(given) {
        controller = given;
        if (socket.end !== null) controller.error(socket.writeError);
        // The sink's `abort` is called only after the write that waits, which may wait for ever. In a microtask: a stream
        // that is failed from within its own `abort` breaks an assertion of Node's.
        const { signal } = controller;
        signal.addEventListener("abort", () => microtask(() => socket.abort(signal.reason)));
      },
      write(chunk) {
        const from = unlessBroken(() => check.bytes("chunk", chunk));
        const taken = socket.tryWrite(from);
        if (taken < from.byteLength) return writeRest(from.subarray(taken));
        written();
        return undefined;
      },
      close() {
        socket.shutdown();
      },
      abort(reason) {
        socket.abort(reason);
      },
    },
    {
      highWaterMark: 1,
      // Called for each chunk as it enters the queue, which is how the queue's length is known.
      size() {
        waiting += 1;
        return 1;
      },
    },
  );

  return {
    stream,
    get isWaiting() {
      return wake !== null;
    },
    get holds() {
      return waiting > 0;
    },
    proceed: resume,
    closeWhenIdle() {
      if (!stream.locked) {
        stream.close().catch(() => {});
        return;
      }
      // Only a writer can close a stream that it has locked: its FIN is sent, and the stream fails when the connection is over.
      closeAtZero = true;
      if (waiting === 0) socket.shutdown();
    },
    finish(error) {
      if (error !== null) controller.error(error);
      // A pipe that carried the last bytes closes the stream within this turn, and has not failed.
      else macrotask(() => controller.error(socket.writeError));
      resume();
    },
  };
}
