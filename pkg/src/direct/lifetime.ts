/** What the sockets of the Direct Sockets API have in common: `opened`, `closed` and `close`. */

import { deferred } from "../engine_core.js";
import { invalidState, networkError } from "./options.js";

/** Settles `closed`: with the error that has ended the socket, or with null in good order. */
export type Settle = (failure: { error: unknown } | null) => void;

/** What `opened` of all sockets resolves with. */
export interface SocketStreams {
  /** What comes. */
  readable: ReadableStream;
  /** Takes what is to be sent, where something can be. */
  writable?: WritableStream;
}

/** A socket that its streams end. */
export abstract class DirectSocket<Info extends SocketStreams> {
  /** Resolves when the socket can be used, rejects when it could not be opened. */
  readonly opened: Promise<Info>;
  /** Resolves when the socket has ended in good order, rejects with what ended it. */
  readonly closed: Promise<undefined>;
  #info: Info | null = null;
  #isSettled = false;

  /** @internal */
  constructor(open: (settle: Settle) => Promise<Info>) {
    const closing = deferred<undefined>();
    const settle: Settle = (failure) => {
      this.#isSettled = true;
      if (failure === null) closing.resolve(undefined);
      else closing.reject(failure.error);
    };
    this.closed = closing.promise;
    this.opened = open(settle).then(
      (info) => {
        this.#info = info;
        return info;
      },
      (cause) => {
        const error = networkError(cause);
        settle({ error });
        throw error;
      },
    );
    this.opened.catch(() => {});
  }

  /** Closes the socket. Rejects while one of its streams is locked. */
  async close(): Promise<undefined> {
    if (this.#info === null) throw invalidState("the socket is not open");
    if (this.#isSettled) return this.closed;
    const { readable, writable } = this.#info;
    if (readable.locked || writable?.locked) {
      throw invalidState(
        "the socket's streams are locked: release or close their readers and writers",
      );
    }
    readable.cancel().catch(() => {});
    writable?.abort().catch(() => {});
    return this.closed;
  }
}
