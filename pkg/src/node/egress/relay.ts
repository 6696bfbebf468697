/** Between a guest's connection and one of this computer's: bytes, their ends, resets and back-pressure, both ways. */

import type { Socket as NodeSocket } from "node:net";
import { realClock } from "../../clock.js";
import type { Socket } from "../../types.js";

/** The most that is read of the guest at once, in bytes. */
const PIECE = 64 * 1024;

/** How long a reset waits until the peer has taken what was written, in milliseconds. */
const RESET_PATIENCE = 1_000;

/** Resets a connection. One whose end was sent is closed: the system answers what still comes with a reset, and refuses to send one while that end is on its way. */
export function reset(host: NodeSocket): void {
  if (host.destroyed) return;
  if (host.writableEnded) {
    host.destroy();
    return;
  }
  host.resetAndDestroy();
  const timer = realClock.setTimer(() => host.destroy(), RESET_PATIENCE);
  host.once("close", () => realClock.clearTimer(timer));
}

/** Joins two open connections. Each ends as the other does. */
export function relay(guest: Socket, host: NodeSocket): void {
  /** What the guest's connection has not taken yet. */
  let rest: Uint8Array | null = null;
  let hostEnded = false;
  let guestEnded = false;
  let isFull = false;

  const fail = (reason: unknown): void => {
    guest.abort(reason);
    reset(host);
  };

  /** Guest to host. */
  const read = (): void => {
    while (!guestEnded && !isFull && !host.destroyed) {
      const piece = Buffer.allocUnsafe(Math.max(1, Math.min(PIECE, guest.readableBytes)));
      const count = guest.tryRead(piece);
      if (count < 0) return;
      if (count === 0) {
        guestEnded = true;
        host.end();
        return;
      }
      isFull = !host.write(piece.subarray(0, count));
    }
  };

  /** Host to guest. */
  const write = (): void => {
    if (rest !== null) {
      const taken = guest.tryWrite(rest);
      rest = taken === rest.byteLength ? null : rest.subarray(taken);
    }
    if (rest !== null) return;
    if (hostEnded) guest.shutdown();
    else host.resume();
  };

  const move = (): void => {
    if (host.destroyed && hostEnded && guestEnded) return;
    try {
      read();
      write();
    } catch (error) {
      fail(error);
    }
  };

  guest.onready = move;
  host.on("data", (piece) => {
    rest = piece;
    host.pause();
    move();
  });
  host.on("end", () => {
    hostEnded = true;
    move();
  });
  host.on("drain", () => {
    isFull = false;
    move();
  });
  // `close` follows.
  host.on("error", () => {});
  host.on("close", (failed) => {
    if (failed || !hostEnded) guest.abort(new Error("the connection outside was reset"));
  });
  host.on("timeout", () => fail(new Error("the connection was idle")));
  guest.closed.then(
    () => host.destroySoon(),
    () => reset(host),
  );
  move();
}
