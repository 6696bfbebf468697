/** The end of TLS connections, of which the application knows nothing any more. */

import { holdProgram } from "../clock.js";
import type { Link, Owner } from "./link.js";

/**
 * After the end, what the peer still sends is thrown away until it ends as well, for so long at most: a connection that is closed with unread data is
 * reset, and what was sent last might never be read.
 */
const LINGER = 5_000;
/** So many times as long, if what was written still waits for room in the transport. */
const LINGERS = 24;

/** Sends what is left and then the end, waits a little for the peer's, and lets go of the connection. */
export class Farewell implements Owner {
  readonly #link: Link;
  readonly #isInOrder: boolean;
  #hasPeerEnded = false;
  #isDone = false;
  #timer: unknown = null;

  /** An end that is in order tells the peer that nothing follows; after a failure there may be an alert. */
  constructor(link: Link, isInOrder: boolean) {
    this.#link = link;
    this.#isInOrder = isInOrder;
    link.hold(this);
    if (link.tls === null || link.isOver) {
      this.#release();
      return;
    }
    this.#releaseLater(LINGERS);
    try {
      if (isInOrder) link.finish();
      else link.endWhenFlushed();
    } catch {
      this.#release();
    }
    this.pump();
  }

  #releaseLater(times: number): void {
    const { clock } = this.#link;
    this.#timer = clock.setTimer(() => {
      const isWaitedFor = this.#isInOrder && this.#link.hasUnsent;
      if (isWaitedFor && times > 1) this.#releaseLater(times - 1);
      else this.#release();
    }, LINGER);
    holdProgram(this.#timer, false);
  }

  /** Throws away what comes, and closes after its end. */
  pump(): void {
    if (this.#isDone) return;
    try {
      this.#link.flush();
      while (!this.#hasPeerEnded) {
        const count = this.#link.takeIn();
        if (count < 0) return;
        this.#hasPeerEnded = count === 0;
      }
    } catch {
      this.#release();
    }
    if (!this.#link.hasUnsent) this.#release();
  }

  transportOver(): void {
    this.#release();
  }

  onModuleOver(error: Error): void {
    this.#link.transport.abort(error);
    this.#release();
  }

  #release(): void {
    this.#isDone = true;
    if (this.#timer !== null) this.#link.clock.clearTimer(this.#timer);
    this.#timer = null;
    this.#link.release();
  }
}
